// Tables that are sorted by any of their columns, by a button in its head.

// columns: [{words, of(row) -> what is sorted by, text(row) -> what is shown, numeric}]; more(row) -> elements of a last cell.
function sortable(holder, { caption, columns, rows, sorted = "", more = null, chose = () => {} }) {
  let [by, down] = sorted ? [Number(sorted.replace("-", "")), sorted.startsWith("-")] : [-1, false];
  const draw = () => {
    const list = [...rows];
    if (by >= 0 && columns[by]) list.sort((a, b) => (down ? -1 : 1) * compared(columns[by].of(a), columns[by].of(b), down));
    const heads = columns.map((column, at) => h("th", { scope: "col", "aria-sort": at === by ? (down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", onclick: () => sort(at) }, column.words, h("span.arrow", { "aria-hidden": "true" }, at === by ? (down ? " ▼" : " ▲") : " ↕"))));
    if (more) heads.push(h("th", { scope: "col" }, "Pin"));
    const body = list.map((row) => h("tr", {}, columns.map((column, at) => h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: column.numeric ? "number" : null }, column.text(row))),
      more && h("td", {}, more(row))));
    replace(holder, h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body)));
  };
  const sort = (at) => {
    [by, down] = at === by ? [at, !down] : [at, false];
    chose(`${down ? "-" : ""}${by}`);
    draw();
    holder.querySelectorAll("thead button")[at].focus();
  };
  draw();
}

// What is unknown comes last either way.
function compared(a, b, down) {
  const [nothing, none] = [a, b].map((value) => value === null || value === undefined || Number.isNaN(value));
  if (nothing || none) return (nothing - none) * (down ? -1 : 1);
  return typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a === b ? 0 : a - b;
}

// A league table of the result: axes first, then medians with their ranges over seeds.
function leagueTable(holder, told, caption, sorted, chose) {
  const words = (each) => (each.units && each.units !== "1" ? `${each.words} (${each.units})` : each.words);
  const axes = told.axes.map((axis, at) => ({ words: words(axis), of: (row) => row[at], text: (row) => (typeof row[at] === "number" ? short(row[at], 4) : row[at]), numeric: typeof axis.values[0] === "number" }));
  const values = told.columns.map((column, at) => {
    const place = told.axes.length + at;
    const sorted = (value) => (typeof value === "string" ? Infinity : value);  // a word for what is beyond all numbers
    const middle = (row) => (Array.isArray(row[place]) ? sorted(row[place][0]) : row[place]);
    return { words: words(column), of: middle, text: (row) => spanned(row[place]), numeric: told.rows.some((row) => Array.isArray(row[place])) };
  });
  sortable(holder, { caption, columns: [...axes, ...values], rows: told.rows, sorted, chose });
}

function spanned(value) {
  if (!Array.isArray(value)) return value === null ? "–" : value;
  const [middle, low, high] = value.map((each) => (typeof each === "string" ? each : short(each)));
  return value[1] === value[2] ? middle : h("span", {}, `${middle} `, h("small", {}, `${low} to ${high}`));
}

// Fronts of two losses, as distances to both tasks: a line for each case, those picked in colour.
function drawFronts(figure, told, picked) {
  const fronts = told.map((front) => ({ ...front, points: front.points.map((point) => point.map(Math.sqrt)) }));
  const points = fronts.flatMap((front) => front.points);
  const domain = (at) => [0, extent(points.map((point) => point[at]), false)[1]];
  const lines = fronts.map((front, at) => {
    const place = picked.indexOf(at);
    return { points: front.points, colour: place < 0 ? "var(--before)" : COLOURS[place % COLOURS.length], dash: place < 0 ? "" : DASHES[place % DASHES.length], width: place < 0 ? 1 : 2.6, name: front.words };
  });
  lines.sort((a, b) => a.width - b.width);
  plot(figure, {
    x: { domain: domain(0), log: false, words: "√ fine-tuning loss" }, y: { domain: domain(1), log: false, words: "√ pre-training loss" }, lines,
    label: `Fronts of both losses of ${fronts.length} cases; ${picked.map((at) => fronts[at].words).join("; ") || "none"} in colour`,
  });
  replace(figure.querySelector(".keys"), picked.map((at, place) => h("span.key", {}, h("svg:svg", { width: 26, height: 14, "aria-hidden": "true" },
    h("svg:line", { x1: 1, x2: 25, y1: 7, y2: 7, stroke: COLOURS[place % COLOURS.length], "stroke-width": 2.6, "stroke-dasharray": DASHES[place % DASHES.length] })), fronts[at].words)));
}
