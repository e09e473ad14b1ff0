// Curves and numbers of the cells that are pinned, or pointed at; and the map as a table.

function shownCells() {
  const list = pins().map((at, number) => ({ at, name: String(number + 1), colour: COLOURS[number], dash: DASHES[number] }));
  if (page.hover !== null && !list.some((each) => each.at === page.hover)) list.push({ at: page.hover, name: "here", colour: "var(--ink)", dash: "" });
  if (!list.length && page.cells.length) list.push({ at: startingCell(), name: "here", colour: "var(--ink)", dash: "" });
  return list.map((each) => ({ ...each, place: page.cells[each.at].place, words: nameOf(page.cells[each.at].place), turn: page.cells[each.at].turns[0] }));
}

// Where most is lost, as far as that is known.
function startingCell() {
  let best = 0;
  const depth = (at) => (page.view.turns.length && Number.isFinite(page.cells[at].turns[0].excess) ? page.cells[at].turns[0].excess : -1);
  page.cells.forEach((_, at) => (best = depth(at) > depth(best) ? at : best));
  return best;
}

function drawFigures() {
  const shown = shownCells();
  $("losses").querySelector("figcaption").textContent = page.view.variables[page.view.loss].words;
  drawCurves($("losses"), page.view, page.view.loss, shown, page.context);
  const other = state.measure || DEFAULT_MEASURE();
  $("measures").hidden = !other;
  if (other) drawCurves($("measures"), page.view, other, shown, page.context);
  drawNumbers(shown);
}

const DEFAULT_MEASURE = () => {
  const list = measuresOf(page.view).filter((name) => name !== page.view.loss);
  return list.find((name) => name.endsWith("finetune_loss_after")) || list[0] || "";
};

// Rows of numbers of a cell: [words, text].
function numbersOf(cell) {
  const { view, context } = page;
  const told = [view.x, view.y].filter(Boolean).map((dim) => [view.axes[dim].words, typeof view.axes[dim].values[cell.place[dim]] === "number" ? short(view.axes[dim].values[cell.place[dim]]) : view.axes[dim].values[cell.place[dim]]]);
  view.turns.forEach((turning, at) => {
    const turn = cell.turns[at];
    const of = at === 0 ? "" : `, ${turning.words}`;
    const ends = Number.isFinite(turn.low) && Number.isFinite(turn.inflection) ? ` (${short(turn.low, 4)} to ${short(turn.high, 4)})` : "";
    told.push([`${turning.words === "fine-tuning loss" ? "T_ft" : "inflection"}${turning.words === "fine-tuning loss" ? "" : of}`, steps(turn.inflection) + ends]);
    if (turning.harm) told.push([`harm${of}`, change(turn.harm)]);
    if (turning.excess) told.push([`excess${of}`, short(turn.excess)]);
    if (at === 0 && turn.seeds > 1) told.push(["seeds that turn", `${turn.turned} of ${turn.seeds}`]);
    if (at === 0 && turn.resolved !== null) told.push(["resolved by the budgets", turn.resolved ? "yes" : "no"]);
  });
  for (const name of measuresOf(view)) {
    const runs = curvesAt(view, view.variables[name], cell.place);
    told.push([`${view.variables[name].words} at the budget`, short(median(runs.map((run) => run[context.budget])))]);
  }
  if (view.costs) told.push(["what going on would cost", change(costAt(view, cell.place, context.budget))]);
  if (cell.trouble) told.push(["runs", TROUBLES[cell.trouble]]);
  return told;
}

function drawNumbers(shown) {
  const lists = shown.map((each) => new Map(numbersOf(page.cells[each.at])));
  const names = [...new Set(lists.flatMap((list) => [...list.keys()]))];
  const heads = shown.map((each) => h("th", { scope: "col" }, h("span.chip", { style: `--chip:${each.colour}` }, each.name), each.name !== "here" && h("button", { type: "button", "aria-label": `Unpin ${each.words}`, onclick: () => togglePin(each.at) }, "unpin")));
  replace($("cells"), h("table.numbers", {}, h("caption", {}, `At a budget of ${budgetWords()}`), h("thead", {}, h("tr", {}, h("td", {}), heads)), h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, name), lists.map((list) => h("td", { "data-name": name }, list.get(name) || "–")))))));
}

// Columns of the map as a table.
function columnsOf(view) {
  const axes = [view.x, view.y].filter(Boolean).map((dim) => ({ words: view.axes[dim].words, of: (cell) => cell.place[dim], text: (cell) => (typeof view.axes[dim].values[0] === "number" ? short(view.axes[dim].values[cell.place[dim]]) : view.axes[dim].values[cell.place[dim]]), numeric: true }));
  const turns = view.turns.flatMap((turning, at) => {
    const of = at === 0 ? "" : `, ${turning.words}`;
    const column = (words, part, text) => ({ words: words + of, of: (cell) => cell.turns[at][part], text: (cell) => text(cell.turns[at][part]), numeric: true });
    return [column("inflection (steps)", "inflection", (value) => (Number.isNaN(value) ? "unknown" : Number.isFinite(value) ? short(value, 4) : "no turn")), turning.harm && column("harm", "harm", change), turning.excess && column("excess", "excess", short)].filter(Boolean);
  });
  const cost = view.costs && { words: "cost of going on", of: (cell) => costAt(view, cell.place, page.context.budget), text: (cell) => change(costAt(view, cell.place, page.context.budget)), numeric: true };
  const runs = { words: "runs", of: (cell) => cell.trouble, text: (cell) => TROUBLES[cell.trouble] || "" };
  return [...axes, ...turns, cost, runs].filter(Boolean);
}

function drawAll() {
  if (!$("all").open || !page.view?.x) return;
  const seeds = page.view.seeds.some((dim) => page.view.axes[dim].values.length > 1);
  sortable($("all-table"), {
    caption: `Every cell${seeds ? ", medians over seeds" : ""}`, columns: columnsOf(page.view), rows: page.cells, sorted: state.allsort, chose: (by) => changed({ allsort: by }, "none"),
    more: (cell) => h("button", { type: "button", "aria-pressed": pins().includes(page.cells.indexOf(cell)), "aria-label": `Pin ${nameOf(cell.place)}`, onclick: (event) => { togglePin(page.cells.indexOf(cell)); event.target.setAttribute("aria-pressed", pins().includes(page.cells.indexOf(cell))); } }, "pin"),
  });
}

function togglePin(at) {
  const list = pins();
  const told = $("status");
  if (list.includes(at)) list.splice(list.indexOf(at), 1);
  else if (list.length < MOST_PINS) list.push(at);
  else {
    told.textContent = `${MOST_PINS} cells are pinned already: unpin one first.`;
    return;
  }
  told.textContent = `${list.length} cells are pinned.`;
  changed({ pins: list.join(",") }, "pins");
}
