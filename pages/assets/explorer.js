// What the page does: reads the state, draws, and writes it back.

const $ = (id) => document.getElementById(id);
const MOST_PINS = COLOURS.length;
const LEVELS = 120;  // of a slider of criteria: 0, then 1e-5 to 1e1 in logarithm

function levelOf(place) {
  return place <= 0 ? 0 : 10 ** (-5 + (6 * (place - 1)) / (LEVELS - 1));
}

function placeOf(level) {
  return level <= 0 ? 0 : Math.min(LEVELS, Math.max(1, Math.round(1 + ((Math.log10(level) + 5) / 6) * (LEVELS - 1))));
}

const page = { view: null, map: null, cells: [], hover: null, context: {}, quantities: [] };
const FIRST = { view: "0", quantity: "", budget: "", harm: "", excess: "", pins: "", measure: "", table: "0", sort: "", allsort: "", fronts: "", theme: "auto" };
const state = { ...FIRST };

function heading() {
  const { finding } = DATA;
  $("kicker").textContent = DATA.name.replaceAll("_", " ");
  $("sentence").textContent = `${finding.sentence}.`;
  $("verdict").textContent = `Verdict: ${finding.verdict}`;
  $("verdict").dataset.verdict = finding.verdict;
  $("trust").textContent = finding.trust || "Its own check says nothing against it.";
  $("trust").classList.toggle("warned", Boolean(finding.trust));
  replace($("details").querySelector("ul"), finding.details.map((line) => h("li", {}, line)));
  $("details").hidden = !finding.details.length;
  if (DATA.thinned.length) {
    $("thinned").hidden = false;
    $("thinned").textContent = `Thinned or left out, as the whole is more than browsers bear: ${DATA.thinned.join(", ")}. Turns are those of the whole curves.`;
  }
  const told = { ...DATA.told, config: DATA.config };
  replace($("told"), Object.entries(told).flatMap(([name, text]) => [h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, text)]));
}

function options(select, list, chosen) {
  replace(select, list.map(([value, words]) => h("option", { value, selected: value === chosen }, words)));
}

// ---- state -> what it means

function criteria() {
  const { least_harm, least_excess } = page.view.criteria;
  return { least_harm: state.harm === "" ? least_harm : Number(state.harm), least_excess: state.excess === "" ? least_excess : Number(state.excess) };
}

function chosenOthers() {
  return Object.fromEntries(page.view.others.map((dim) => [dim, Math.min(Number(state[`o.${dim}`] || 0), page.view.axes[dim].values.length - 1)]));
}

function pins() {
  return state.pins.split(",").filter(Boolean).map(Number);
}

// The budget of the slider: steps, or what else budgets are counted in.
function budgetWords() {
  const { values, words, units } = page.view.axes[page.view.budget];
  const value = values[page.context.budget];
  return units === "steps" ? steps(value) : `${short(value, 4)} (${words})`;
}

// ---- the map

function computeCells() {
  const { view } = page;
  const fixed = chosenOthers();
  const [columns, rows] = [view.x, view.y].map((dim) => (dim ? view.axes[dim].values.length : 1));
  page.cells = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const place = { ...fixed };
      if (view.x) place[view.x] = column;
      if (view.y) place[view.y] = row;
      page.cells.push({ place, ...lanesAt(view, place) });
    }
  }
}

function computeTurns() {
  const told = criteria();
  for (const cell of page.cells) cell.turns = page.view.turns.map((turning) => turnAt(page.view, turning, cell.kept, told));
}

function quantity() {
  return page.quantities.find((each) => each.id === state.quantity) || page.quantities[0];
}

function colouring(chosen, values) {
  const { view } = page;
  const budgets = view.axes[view.budget].values;
  const finite = values.filter(Number.isFinite);
  if (chosen.kind === "cost") {
    const most = Math.log(11);
    return { stops: AROUND, share: (value) => 0.5 + Math.log1p(value) / (2 * most), value: (share) => Math.expm1((share - 0.5) * 2 * most), words: (value) => change(value), log: true };
  }
  if (chosen.kind === "budget") {
    const low = Math.max(Math.min(...finite, budgets[budgets.length - 1]) / 1.05, 1e-9);
    const high = Math.max(...finite, low * 4);
    return { stops: VIRIDIS, share: (value) => Math.log(value / low) / Math.log(high / low), value: (share) => low * (high / low) ** share, words: (value) => short(value), log: true };
  }
  const positive = finite.filter((value) => value > 0);
  const log = finite.every((value) => value >= 0) && positive.length > 0 && Math.max(...positive) / Math.min(...positive) > 30;
  const [low, high] = log ? [Math.max(Math.min(...positive), Math.max(...positive) * 1e-4), Math.max(...positive)] : [Math.min(...finite, 0), Math.max(...finite, 1e-12)];
  const words = chosen.kind === "harm" && chosen.words.startsWith("harm") ? change : (value) => short(value);
  if (log) return { stops: VIRIDIS, share: (value) => (value > 0 ? Math.log(value / low) / Math.log(high / low) : 0), value: (share) => low * (high / low) ** share, words, log };
  return { stops: VIRIDIS, share: (value) => (value - low) / (high - low || 1), value: (share) => low + share * (high - low), words, log };
}

function nameOf(place) {
  const parts = [page.view.x, page.view.y].filter(Boolean).map((dim) => {
    const value = page.view.axes[dim].values[place[dim]];
    return `${SHORT_NAMES[dim] || dim.replaceAll("_", " ")} ${typeof value === "number" ? short(value) : value}`;
  });
  return parts.join(", ") || "the curve";
}

const SHORT_NAMES = { learning_rate: "rate", regularization: "strength", product_penalty: "penalty", relative_rate: "relative rate" };

function paintMap() {
  const chosen = quantity();
  if (!chosen || !page.view.x) return;
  page.values = page.cells.map((cell) => Number(chosen.of(cell, page.context)));
  const colours = colouring(chosen, page.values);
  const never = page.values.map((value, at) => (chosen.kind === "budget" ? value === Infinity : chosen.kind === "harm" && page.cells[at].turns[chosen.turn].inflection === Infinity));
  const fills = page.values.map((value, at) => (Number.isNaN(value) || never[at] ? "" : coloured(colours.stops, colours.share(value))));
  const first = page.view.turns.length ? page.cells.map((cell) => Number.isFinite(cell.turns[chosen.turn || 0].inflection)) : [];
  const troubles = page.cells.map((cell, at) => cell.trouble || (never[at] ? "never" : fills[at] ? "" : "none"));
  const labels = page.cells.map((cell, at) => [nameOf(cell.place), `${chosen.words}: ${chosen.kind === "budget" ? steps(page.values[at]) : colours.words(page.values[at])}`, cell.trouble ? TROUBLES[cell.trouble] : ""].filter(Boolean).join("; "));
  const numbered = new Map(pins().map((at, number) => [at, number + 1]));
  page.map.paint({ fills, labels, troubles, turned: first, pins: numbered, boundary: first.length > 0 });
  const known = first.length && page.cells.filter((cell) => !Number.isNaN(cell.turns[chosen.turn || 0].inflection)).length;
  $("map").dataset.turned = first.filter(Boolean).length;
  const seeds = page.view.seeds.reduce((count, dim) => count * page.view.axes[dim].values.length, 1);
  const at = chosen.kind === "cost" ? ` of ${budgetWords()}` : "";
  $("map-title").textContent = `${chosen.words[0].toUpperCase()}${chosen.words.slice(1)}${at}${seeds > 1 ? `, median of ${seeds} seeds` : ""}`;
  bar(colours, chosen);
  const kinds = [...new Set(troubles)].filter((kind) => kind && kind !== "none");
  replace($("map-keys"), kinds.map((kind) => h("span.key", {}, h("svg:svg", { width: 22, height: 14, "aria-hidden": "true" }, h("svg:rect.cell", { width: 22, height: 14, fill: kind === "all" ? "" : "var(--empty)" }), h("svg:rect", { width: 22, height: 14, fill: `url(#hatch-${kind})` })), TROUBLES[kind])),
    first.length > 0 && h("span.key", {}, h("svg:svg", { width: 22, height: 14, "aria-hidden": "true" }, h("svg:path.halo", { d: "M0,7H22" }), h("svg:path.boundary", { d: "M0,7H22" })), `between cells that turn (${first.filter(Boolean).length} of ${known}) and cells that do not`));
}

function bar(colours, chosen) {
  if (!page.values.some((value) => Number.isFinite(value))) return replace($("bar"));
  const stops = Array.from({ length: 21 }, (_, at) => coloured(colours.stops, at / 20)).join(",");
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => h("span", { style: `left:${100 * share}%` }, colours.words(colours.value(share))));
  replace($("bar"), h("div.ramp", { style: `background:linear-gradient(90deg,${stops})`, role: "img", "aria-label": `Colours from ${colours.words(colours.value(0))} to ${colours.words(colours.value(1))}` }), h("div.ticks", { "aria-hidden": "true" }, ticks),
    chosen.kind === "cost" && h("p.hint", {}, "Orange: going on costs; blue: going on still gains."));
}

// ---- controls

function fillControls() {
  const { view } = page;
  const budgets = view.axes[view.budget].values;
  page.context.budget = state.budget === "" ? Math.max(0, Math.round((budgets.length - 1) / 2)) : nearest(budgets, Number(state.budget));
  options($("view"), DATA.views.map((each, at) => [String(at), each.words || "main"]), state.view);
  $("view-choice").hidden = DATA.views.length < 2;
  const fixed = chosenOthers();
  replace($("others"), view.others.filter((dim) => view.axes[dim].values.length > 1).map((dim) => {
    const select = h("select", { "data-dim": dim, onchange: (event) => changed({ [`o.${dim}`]: event.target.value }, "cells") });
    options(select, view.axes[dim].values.map((value, at) => [String(at), typeof value === "number" ? short(value) : value]), String(fixed[dim]));
    return h("label.choice", {}, `${view.axes[dim].words[0].toUpperCase()}${view.axes[dim].words.slice(1)} `, select);
  }));
  page.quantities = quantitiesOf(view);
  options($("quantity"), page.quantities.map((each) => [each.id, each.words]), quantity() ? quantity().id : "");
  options($("measure"), measuresOf(view).map((name) => [name, view.variables[name].words]), state.measure || DEFAULT_MEASURE());
  Object.assign($("budget"), { max: budgets.length - 1, value: page.context.budget });
  const judged = view.turns.some((turning) => turning.judged);
  for (const id of ["harm-slide", "excess-slide"]) $(id).hidden = !judged;
  $("map").hidden = $("all").hidden = !view.x;
  $("explore-title").textContent = view.x ? "Map and curves" : "Curves";
  $("cell-title").textContent = view.x ? "Cells: the one pointed at, and those pinned" : "Numbers";
  $("quantity").closest("label").hidden = !page.quantities.length;
  const told = criteria();
  $("harm").value = placeOf(told.least_harm);
  $("excess").value = placeOf(told.least_excess);
  tellControls();
}

function tellControls() {
  const told = criteria();
  $("budget-told").textContent = budgetWords();
  $("harm-told").textContent = change(told.least_harm);
  $("excess-told").textContent = `${short(100 * told.least_excess)} %`;
  $("budget").setAttribute("aria-valuetext", $("budget-told").textContent);
  $("harm").setAttribute("aria-valuetext", $("harm-told").textContent);
  $("excess").setAttribute("aria-valuetext", $("excess-told").textContent);
}

// Take a change, draw what it reaches, and put it into the address.
function changed(changes, reach) {
  Object.assign(state, changes);
  writeHash(state, FIRST);
  if (reach === "none") return;
  if (reach === "view") return void show();
  if (reach === "cells") { page.hover = null; computeCells(); computeTurns(); }
  if (reach === "criteria") computeTurns();
  tellControls();
  paintMap();
  drawFigures();
  if (reach !== "pins") drawAll();
}

function show() {
  const views = page.views;
  page.view = views[Number(state.view)] || views[0];
  if (!page.view) return;
  page.hover = null;
  $("explore").hidden = false;
  fillControls();
  computeCells();
  computeTurns();
  if (page.view.x) {
    page.map = new CellMap(page.view, (at) => { if (page.hover !== at) { page.hover = at; drawFigures(); } }, togglePin);
    page.map.show($("map").querySelector(".drawing"));
  }
  paintMap();
  drawFigures();
  drawAll();
}

function showTables() {
  $("league").hidden = !DATA.tables.length;
  if (DATA.tables.length) {
    const plain = (each) => each.name.replaceAll("_", " ");
    const words = (table) => `by ${table.axes.map(plain).join(", ")}: ${table.columns.map(plain).join(", ")}`;
    const cut = (text) => (text.length > 90 ? `${text.slice(0, 88)}…` : text);
    options($("table"), DATA.tables.map((table, at) => [String(at), cut(words(table))]), state.table);
    const told = DATA.tables[Number(state.table)] || DATA.tables[0];
    $("league-hint").textContent = `A button in each head sorts by its column${told.seeds ? "; medians, with their range over seeds" : ""}.`;
    leagueTable($("league-table"), told, `By ${told.axes.map((axis) => axis.words).join(", ")}`, state.sort, (by) => changed({ sort: by }, "none"));
  }
  $("fronts").hidden = !DATA.fronts.length;
  if (!DATA.fronts.length) return;
  const picked = state.fronts === "" ? [0, 1, 2].filter((at) => at < DATA.fronts.length) : state.fronts.split(".").filter(Boolean).map(Number);
  drawFronts($("front"), DATA.fronts, picked);
  const choose = (at, on) => {
    const list = on ? [...picked, at] : picked.filter((each) => each !== at);
    changed({ fronts: list.join(".") || "." }, "none");
    showTables();
    $("front-choice").querySelectorAll("input")[at].focus();
  };
  replace($("front-choice"), h("legend", {}, "Cases in colour"), DATA.fronts.map((front, at) => h("label", {}, h("input", { type: "checkbox", checked: picked.includes(at), onchange: (event) => choose(at, event.target.checked) }), front.words)));
}

function wire() {
  $("view").addEventListener("change", (event) => changed({ ...FIRST, theme: state.theme, view: event.target.value }, "view"));
  $("quantity").addEventListener("change", (event) => changed({ quantity: event.target.value }, "paint"));
  $("measure").addEventListener("change", (event) => changed({ measure: event.target.value }, "paint"));
  $("budget").addEventListener("input", (event) => {
    page.context.budget = Number(event.target.value);
    const costs = page.quantities.some((each) => each.id === "cost");
    if (costs) $("quantity").value = "cost";
    changed({ budget: String(page.view.axes[page.view.budget].values[page.context.budget]), ...(costs ? { quantity: "cost" } : {}) }, "paint");
  });
  for (const [id, name] of [["harm", "least_harm"], ["excess", "least_excess"]]) {
    $(id).addEventListener("input", (event) => {
      const place = Number(event.target.value);
      const first = placeOf(page.view.criteria[name]) === place;
      changed({ [id]: first ? "" : String(Number(levelOf(place).toPrecision(3))) }, "criteria");
    });
  }
  $("reset").addEventListener("click", () => changed({ ...FIRST, theme: state.theme, view: state.view, pins: state.pins }, "view"));
  $("all").addEventListener("toggle", drawAll);
  $("table").addEventListener("change", (event) => { changed({ table: event.target.value, sort: "" }, "none"); showTables(); });
  wireTools(state, () => { applyTheme(state.theme); writeHash(state, FIRST); });
  addEventListener("hashchange", () => { readState(); show(); showTables(); });
}

async function start() {
  heading();
  page.views = await Promise.all(DATA.views.map(unpacked));
  readState();
  wire();
  show();
  showTables();
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  document.getElementById("status").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
