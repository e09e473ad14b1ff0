// Curves of the cells that are pinned, and of the one that is pointed at: losses and measures over budgets.

// Of a variable at a cell: {low, middle, high} over seeds, lists over budgets.
function curveOf(view, name, place) {
  const runs = curvesAt(view, view.variables[name], place);
  const over = (take) => runs[0].map((_, at) => take(runs.map((run) => run[at])));
  const spans = over(spread);
  return { middle: over(median), low: spans.map(([low]) => low), high: spans.map(([, high]) => high), runs: runs.length };
}

function partner(view, name, to) {
  const bare = name.slice(view.prefix.length);
  const other = to === "before" ? bare.replace(/_after$/, "_before") : `predicted_${bare}`;
  return other !== bare && view.variables[`${view.prefix}${other}`] ? `${view.prefix}${other}` : null;
}

// Measures to choose from: not the closed forms, which are drawn with what they predict.
function measuresOf(view) {
  return view.curves.filter((name) => !name.slice(view.prefix.length).startsWith("predicted_"));
}

// Draw one variable of some cells: [{place, colour, dash, words, turn}], the last of them perhaps the one pointed at.
function drawCurves(figure, view, name, shown, context) {
  const budgets = view.axes[view.budget].values;
  const variable = view.variables[name];
  const [before, predicted] = [partner(view, name, "before"), partner(view, name, "predicted")];
  const pair = (list) => budgets.map((budget, at) => [budget, list[at]]);
  const spec = { bands: [], lines: [], dots: [], stars: [], spans: [], rules: [] };
  const [values, tails] = [[], []];
  const isLoss = name === view.loss;
  if (before && shown.length) {
    const curve = curveOf(view, before, shown[0].place);
    spec.lines.push({ points: pair(curve.middle), colour: "var(--before)", width: 4, name: "before" });
    if (curve.runs > 1) spec.bands.push({ points: budgets.map((budget, at) => [budget, curve.low[at], curve.high[at]]), colour: "var(--before)" });
    tails.push(...curve.middle);
  }
  shown.forEach((cell, row) => {
    const curve = curveOf(view, name, cell.place);
    values.push(...curve.low, ...curve.high);
    if (curve.runs > 1) spec.bands.push({ points: budgets.map((budget, at) => [budget, curve.low[at], curve.high[at]]), colour: cell.colour });
    spec.dots.push({ points: apart(budgets).map((at) => [budgets[at], curve.middle[at]]), colour: cell.colour });
    if (predicted) spec.lines.push({ points: pair(curveOf(view, predicted, cell.place).middle), colour: cell.colour, dash: cell.dash, name: "closed form" });
    else spec.lines.push({ points: pair(curve.middle), colour: cell.colour, dash: cell.dash, width: 1.2, name: "simulated" });
    if (isLoss && cell.turn && Number.isFinite(cell.turn.inflection)) {
      const at = nearest(budgets, cell.turn.inflection);
      spec.stars.push({ at: [cell.turn.inflection, curve.middle[at]], colour: cell.colour });
      if (Number.isFinite(cell.turn.low)) spec.spans.push({ from: cell.turn.low, to: cell.turn.high, colour: cell.colour, row });
    }
  });
  const steps = budgets[0] > 0 && budgets[budgets.length - 1] / budgets[0] > 20;
  const known = [...values, ...tails].filter(Number.isFinite);
  const positive = known.every((value) => value >= 0) && known.some((value) => value > 0);
  const log = positive && Math.max(...known) / Math.min(...known.filter((value) => value > 0)) > 20;
  const [low, high] = extent([...values, ...tails], log);
  const floor = log ? Math.min(...values.filter((value) => value > 0)) / 4 : low;  // what falls on leaves below
  spec.x = { domain: [budgets[0], budgets[budgets.length - 1]], log: steps, words: `${view.axes[view.budget].words}${view.axes[view.budget].units ? ` (${view.axes[view.budget].units})` : ""}` };
  spec.y = { domain: [Number.isFinite(floor) && log ? Math.max(low, floor) : low, high], log, words: variable.units && variable.units !== "1" ? variable.units : variable.words.slice(0, 34) };
  if (context.budget !== null) spec.rules.push({ at: budgets[context.budget], dash: "4 4" });
  spec.label = `${variable.words} over budget, of ${shown.length} cells: ${shown.map((cell) => `${cell.words}, ${turnWords(cell)}`).join("; ")}. The tables hold the numbers.`;
  spec.read = (across) => {
    const at = nearest(budgets, across);
    const told = shown.map((cell) => `${cell.name}: ${short(curveOf(view, name, cell.place).middle[at])}`);
    return { at: budgets[at], words: `${short(budgets[at], 4)} steps, ${told.join(", ")}` };
  };
  plot(figure, spec);
  explainCurves(figure, { before, predicted, seeds: shown.length ? curvesAt(view, variable, shown[0].place).length : 1, turning: isLoss && view.turns.length > 0 });
}

// Budgets to mark: as many as stand apart, where more were added than a plot shows.
function apart(budgets) {
  const log = budgets[0] > 0;
  const along = (at) => (log ? Math.log(budgets[at] / budgets[0]) : budgets[at] - budgets[0]) / (log ? Math.log(budgets[budgets.length - 1] / budgets[0]) : budgets[budgets.length - 1] - budgets[0] || 1);
  const kept = [0];
  for (let at = 1; at < budgets.length; at++) if (along(at) - along(kept[kept.length - 1]) > 1 / 60) kept.push(at);
  return kept;
}

function turnWords(cell) {
  return cell.turn && Number.isFinite(cell.turn.inflection) ? `turns after ${steps(cell.turn.inflection)}` : "does not turn";
}

function nearest(budgets, value) {
  let best = 0;
  budgets.forEach((budget, at) => {
    if (Math.abs(Math.log(budget / value)) < Math.abs(Math.log(budgets[best] / value))) best = at;
  });
  return best;
}

// What marks and lines mean, below a figure.
function explainCurves(figure, { before, predicted, seeds, turning }) {
  const key = (look, words) => h("span.key", {}, h("svg:svg", { width: 26, height: 14, "aria-hidden": "true" }, look), words);
  const line = (attributes) => h("svg:line.line", { x1: 1, x2: 25, y1: 7, y2: 7, stroke: "currentColor", "stroke-width": 2, ...attributes });
  replace(figure.querySelector(".keys"),
    key(h("svg:circle.dot", { cx: 13, cy: 7, r: 3.2, stroke: "currentColor" }), seeds > 1 ? `computed (median of ${seeds} seeds)` : "computed"),
    seeds > 1 && key(h("svg:rect.band", { x: 2, y: 2, width: 22, height: 10, fill: "currentColor" }), "range over seeds"),
    predicted && key(line({}), "closed form"),
    before && key(line({ "stroke-width": 4, stroke: "var(--before)" }), "before fine-tuning"),
    turning && key(h("svg:path.star", { d: STAR, fill: "currentColor", transform: "translate(13,7)" }), "inflection, interval at the bottom"),
    key(line({ "stroke-dasharray": "4 4", "stroke-width": 1 }), "the budget of the slider"));
}
