// What a link shows: the whole state of the page is in the hash of its address.

// As it stands there; whoever reads it checks that the page has it (link.js, settings of theory.js).
function readHash() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

// Put the state there without a step of its own in the browser's history; what is as it was at first is left out.
function writeHash(state, first) {
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== first[name] && value !== "" && value !== undefined) told.set(name, value);
  }
  const hash = `#${told}`;
  if (hash === (location.hash || "#")) return;
  history.replaceState(null, "", hash === "#" ? location.pathname + location.search : hash);
}

const THEMES = ["auto", "light", "dark"];

function applyTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.getElementById("theme").textContent = `Theme: ${theme}`;
}

// Buttons that every page has: light or dark, and the link of what is seen.
function wireTools(state, changed) {
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    state.theme = THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length];
    changed();
  });
  document.getElementById("copy").addEventListener("click", async () => {
    const status = document.getElementById("status");
    try {
      await navigator.clipboard.writeText(location.href);
      status.textContent = "The link is copied: it shows what you see.";
    } catch {
      status.textContent = "Copy the address of this page: it shows what you see.";
    }
  });
}
