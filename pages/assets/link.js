// What of a link this page has. A link may be old, cut off or made up: what the page lacks is left as it is at first.

// Places in a list of so many, each once.
function placesIn(text, mark, count, most = count) {
  const known = text.split(mark).filter((each) => /^(0|[1-9]\d{0,8})$/.test(each) && Number(each) < count);
  return [...new Set(known)].slice(0, most);
}

function isPlace(text, count) {
  return placesIn(text, " ", count).join() === text;
}

function isNumber(text, low, high) {
  return /^\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text) && Number(text) >= low && Number(text) <= high;
}

// A column to sort by, from large to small after a minus.
function isColumn(text, count) {
  return isPlace(text.replace(/^-/, ""), count);
}

// The state that a link tells, all of whose values the page has.
function stateOf(told) {
  const known = { ...FIRST };
  const take = (name, right) => Object.hasOwn(told, name) && right(told[name]) && (known[name] = told[name]);
  take("theme", (text) => THEMES.includes(text));
  take("table", (text) => isPlace(text, DATA.tables.length));
  const table = DATA.tables[Number(known.table)];
  if (table) take("sort", (text) => isColumn(text, table.axes.length + table.columns.length));
  const fronts = told.fronts === "." ? "." : placesIn(told.fronts || "", ".", DATA.fronts.length).join(".");
  take("view", (text) => isPlace(text, DATA.views.length));
  const view = page.views[Number(known.view)];
  if (!view) return { ...known, fronts };
  const [budgets, most] = [view.axes[view.budget].values, levelOf(LEVELS)];
  const cells = [view.x, view.y].reduce((count, dim) => count * (dim ? view.axes[dim].values.length : 1), 1);
  for (const dim of view.others) take(`o.${dim}`, (text) => isPlace(text, view.axes[dim].values.length));
  take("quantity", (text) => quantitiesOf(view).some((each) => each.id === text));
  take("measure", (text) => measuresOf(view).includes(text));
  take("budget", (text) => isNumber(text, budgets[0], budgets[budgets.length - 1]));
  take("harm", (text) => isNumber(text, 0, most));
  take("excess", (text) => isNumber(text, 0, most));
  take("allsort", (text) => isColumn(text, columnsOf(view).length));
  return { ...known, fronts, pins: placesIn(told.pins || "", ",", cells, MOST_PINS).join(",") };
}

// Take what the address says; the choices of a link before are gone.
function readState() {
  for (const name of Object.keys(state)) delete state[name];
  Object.assign(state, stateOf(readHash()));
  applyTheme(state.theme);
}
