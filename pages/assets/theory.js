// Sliders -> closed form -> plots and words.

const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

// Of every slider: its range, whether it goes by factors (and then whether it begins with 0), and what it says.
const SLIDERS = [
  { id: "exponent", words: "Spectrum 2 / iᵃ: exponent a", first: 1, low: 0.25, high: 3 },
  { id: "factor", words: "Shift: factor on weak features", first: 4, low: 0.25, high: 8 },
  { id: "from", words: "Shift: from feature", first: 5, low: 1, high: 16, whole: true },
  { id: "tau", words: "Start: layers at e to the −τ", first: 5, low: 1, high: 8 },
  { id: "rate", words: "Fine-tuning rate η", first: 0.002, low: 1e-5, high: 0.025, log: true },
  { id: "strength", words: "Penalty λ", first: 0, low: 0.1, high: 16, log: true, zero: true },
  { id: "noise", words: "Noise on the weights γ", first: 0.1, low: 0.01, high: 0.5, log: true, zero: true },
  { id: "budget", words: "Pre-training budget (steps)", first: 500, low: 20, high: 40000, log: true },
];
const LEVELS = 240;
const FIRST = { ...Object.fromEntries(SLIDERS.map(({ id, first }) => [id, String(first)])), theme: "auto" };
const state = { ...FIRST };

function levelOf({ low, high, log, zero, whole }, place) {
  if (whole) return Math.round(place);
  if (zero && place <= 0) return 0;
  const share = place / LEVELS;
  return Number((log ? low * (high / low) ** share : low + share * (high - low)).toPrecision(4));
}

function placeOf({ low, high, log, zero, whole }, level) {
  if (whole) return level;
  if (zero && level <= 0) return 0;
  return Math.max(zero ? 1 : 0, LEVELS * (log ? Math.log(level / low) / Math.log(high / low) : (level - low) / (high - low)));
}

// What the state says, within the sliders' ranges.
function settings() {
  return Object.fromEntries(SLIDERS.map(({ id, first, low, high, zero, whole }) => {
    const given = Number(state[id]);
    const level = !Number.isFinite(given) || state[id] === "" ? first : zero && given <= 0 ? 0 : Math.min(Math.max(given, low), high);
    return [id, whole ? Math.round(level) : level];
  }));
}

function told(name, value, words) {
  const place = document.querySelector(`[data-told="${name}"]`);
  place.textContent = words === undefined ? short(value, 4) : words;
  if (value !== null) place.dataset.value = value;
}

// The turn of a curve, in a sentence.
function turnWords(turn, what) {
  if (!turn.turns) return `${what} never turns within ${grouped(PROBLEM.last)} steps.`;
  const start = turn.budget <= PROBLEM.first * 1.001;
  return `${what} ${start ? "rises from the first budget on" : `turns after ${short(turn.budget, 4)} steps`}; going on to ${grouped(PROBLEM.last)} costs ${change(turn.harm)}.`;
}

function write(problem, now, turn, noisy, sets) {
  const limits = thresholds(problem);
  const half = now.before.filter((s, mode) => s > problem.strengths[mode] / 2).length;
  told("budget", sets.budget);
  told("learned", half, String(half));
  for (const name of ["pretrainBefore", "pretrainAfter", "finetuneBefore", "finetuneAfter"]) told(name, now[name]);
  told("rate", problem.rate);
  told("turn", turn.budget, turnWords(turn, "Over the budget that loss"));
  told("rule", 2 + problem.strength);
  const list = limits.misaligned.flatMap((is, mode) => (is ? [mode + 1] : []));
  told("misaligned", list.length, list.length ? `Features ${list[0]}${list.length > 1 ? ` to ${list[list.length - 1]}` : ""} are wanted ${short(problem.wanted[list[0] - 1] / problem.strengths[list[0] - 1])} times as strong: learned in full they end harmful.` : "No feature is wanted that strong: none ends harmful.");
  const finite = limits.critical.filter(Number.isFinite);
  const count = limits.harmful.filter(Boolean).length;
  told("critical", finite.length ? Math.min(...finite) : Infinity, finite.length ? `The quickest feature takes ${short(Math.min(...finite))}, a rate of ${short(Math.min(...finite) / PROBLEM.finetuneSteps)} over 500 steps; at T = ${short(problem.time)}, ${count} of 16 are past theirs.` : "No feature gets there, however long.");
  told("price", problem.price);
  told("useful", limits.useful, String(limits.useful));
  told("noiseTurn", noisy.budget, problem.noise > 0 ? turnWords(noisy, "The loss under noise") : "Without noise the loss only falls.");
  const step = stepsize(problem);
  $("told-all").textContent = `${turnWords(turn, "The pre-training loss after fine-tuning")}${step > 2 ? ` At this rate descent would be beyond the edge of stability (rate × curvature ${short(step)} above 2), and not follow the flow.` : ""}`;
  Object.assign($("told-all").dataset, { harm: turn.harm, excess: turn.excess, noiseharm: noisy.harm, undernoise: now.underNoise, step });
}

function drawLosses(problem, turn, noisy, budget) {
  const budgets = budgetsOf(160);
  const all = budgets.map((each) => lossesAt(problem, each));
  const line = (name) => budgets.map((each, at) => [each, all[at][name]]);
  const lines = [{ points: line("pretrainBefore"), colour: "var(--before)", width: 4 }, { points: line("pretrainAfter"), colour: COLOURS[1], width: 2.6 }, { points: line("finetuneAfter"), colour: COLOURS[0], dash: "7 3" }];
  if (problem.noise > 0) lines.push({ points: line("underNoise"), colour: COLOURS[2], dash: "2 3", width: 2.4 });
  const shown = all.flatMap((each) => [each.pretrainAfter, each.finetuneAfter, each.finetuneBefore]);
  const [low, high] = extent([...shown, problem.zeroLoss], true);
  const stars = [[turn, COLOURS[1]], [noisy, COLOURS[2]]].filter(([each]) => each.turns).map(([each, colour]) => ({ at: [each.budget, each.least], colour }));
  plot($("losses"), {
    x: { domain: [PROBLEM.first, PROBLEM.last], log: true, words: "pre-training budget (steps)" }, y: { domain: [Math.max(low, high * 1e-4), high], log: true, words: "loss (squared output)" },
    lines, stars, rules: [{ at: budget, dash: "4 4" }], height: 380, label: $("told-all").textContent,
    read: (across) => {
      const here = lossesAt(problem, across);
      return { at: across, words: `${short(across, 4)} steps: before ${short(here.pretrainBefore)}, after ${short(here.pretrainAfter)}, fine-tuning ${short(here.finetuneAfter)}` };
    },
  });
  keys($("losses"), [["pre-training loss before", "var(--before)", "", 4], ["pre-training loss after fine-tuning", COLOURS[1], "", 2.6], ["fine-tuning loss after", COLOURS[0], "7 3", 2], ...(problem.noise > 0 ? [["pre-training loss under noise", COLOURS[2], "2 3", 2.4]] : [])]);
}

function keys(figure, list) {
  replace(figure.querySelector(".keys"), list.map(([words, stroke, dash, width]) => h("span.key", {}, h("svg:svg", { width: 26, height: 14, "aria-hidden": "true" }, h("svg:line", { x1: 1, x2: 25, y1: 7, y2: 7, stroke, "stroke-dasharray": dash, "stroke-width": width })), words)));
}

function drawModes(problem, now) {
  const modes = problem.strengths.map((_, at) => at + 1);
  const pair = (list) => modes.map((mode, at) => [mode, list[at]]);
  const twice = problem.strengths.map((sigma) => 2 * sigma);
  const [low, high] = [Math.min(...problem.strengths) / 4, Math.max(...twice, ...problem.wanted) * 1.3];
  const limits = thresholds(problem);
  plot($("modes"), {
    x: { domain: [0.7, 16.3], log: false, words: "feature" }, y: { domain: [low, high], log: true, words: "strength (output per input)" },
    lines: [{ points: pair(problem.strengths), colour: "var(--before)", width: 4 }, { points: pair(twice), colour: "var(--ink)", dash: "7 3" }],
    dots: [{ points: pair(now.before), colour: "var(--ink)" }],
    stars: modes.filter((_, at) => now.after[at] > low).map((mode) => ({ at: [mode, now.after[mode - 1]], colour: now.after[mode - 1] > twice[mode - 1] ? COLOURS[1] : COLOURS[0] })),
    levels: problem.price > low ? [{ at: problem.price, colour: COLOURS[2] }] : [],
    label: `Strengths of 16 features: ${limits.harmful.filter(Boolean).length} are past their critical time`, height: 270,
  });
  const star = (fill, words) => h("span.key", {}, h("svg:svg", { width: 18, height: 16, "aria-hidden": "true" }, h("svg:path.star", { d: STAR, fill, transform: "translate(9,8)" })), words);
  keys($("modes"), [["σ, wanted before", "var(--before)", "", 4], ["2σ, harmful above", "var(--ink)", "7 3", 2], ["G, not worth learning below", COLOURS[2], "", 1.2]]);
  $("modes").querySelector(".keys").append(h("span.key", {}, h("svg:svg", { width: 14, height: 14, "aria-hidden": "true" }, h("svg:circle.dot", { cx: 7, cy: 7, r: 3.2, stroke: "currentColor" })), "learned"), star(COLOURS[0], "after fine-tuning"), star(COLOURS[1], "after, beyond 2σ"));
}

// ---- the map of harm, whose cells set rate and strength

const RATES = Array.from({ length: 24 }, (_, at) => Number((1e-5 * 2500 ** (at / 23)).toPrecision(4)));
const STRENGTHS = [0, ...Array.from({ length: 13 }, (_, at) => Number((0.1 * 160 ** (at / 12)).toPrecision(4)))];
let map = null;

function makeMap() {
  const axes = { rate: { values: RATES, words: "fine-tuning rate", units: "" }, strength: { values: STRENGTHS, words: "penalty λ", units: "" } };
  const choose = (at) => changed({ rate: String(RATES[at % RATES.length]), strength: String(STRENGTHS[Math.floor(at / RATES.length)]) });
  map = new CellMap({ x: "rate", y: "strength", axes }, () => {}, choose);
  map.show($("map").querySelector(".drawing"));
}

const mapped = { of: "", cells: [] };

// The turns of all cells, computed anew where they are of another problem.
function cellsOf(sets) {
  const of = [sets.exponent, sets.factor, sets.from, sets.tau].join();
  if (of !== mapped.of) {
    const cells = STRENGTHS.flatMap((strength) => RATES.map((rate) => {
      const problem = problemOf({ ...sets, rate, strength });
      return { ...afterTurn(problem, 60, 12), wild: stepsize(problem) > 2 };
    }));
    Object.assign(mapped, { of, cells });
  }
  return mapped.cells;
}

function drawMap(sets) {
  const cells = cellsOf(sets);
  const share = (harm) => Math.log(harm / LEAST_HARM) / Math.log(1000);
  const near = (list, value) => list.reduce((best, each, at) => (Math.abs(Math.log((each + 1e-6) / (value + 1e-6))) < Math.abs(Math.log((list[best] + 1e-6) / (value + 1e-6))) ? at : best), 0);
  const here = near(STRENGTHS, sets.strength) * RATES.length + near(RATES, sets.rate);
  map.paint({
    fills: cells.map((cell) => (cell.turns ? coloured(VIRIDIS, share(cell.harm)) : "")),
    labels: cells.map((cell, at) => `rate ${short(RATES[at % RATES.length])}, penalty ${short(STRENGTHS[Math.floor(at / RATES.length)])}: ${cell.turns ? `harm ${change(cell.harm)}` : "never turns"}${cell.wild ? ", beyond the edge of stability" : ""}`),
    troubles: cells.map((cell) => (cell.wild ? "unstable" : cell.turns ? "" : "never")), turned: cells.map((cell) => cell.turns), pins: new Map([[here, ""]]), boundary: true,
  });
  const stops = Array.from({ length: 21 }, (_, at) => coloured(VIRIDIS, at / 20)).join(",");
  replace($("bar"), h("div.ramp", { style: `background:linear-gradient(90deg,${stops})` }), h("div.ticks", {}, [0, 1 / 3, 2 / 3, 1].map((each) => h("span", { style: `left:${100 * each}%` }, change(LEAST_HARM * 1000 ** each)))));
  const hatched = (kind, words) => h("span.key", {}, h("svg:svg", { width: 22, height: 14, "aria-hidden": "true" }, h("svg:rect", { width: 22, height: 14, fill: "var(--empty)" }), h("svg:rect", { width: 22, height: 14, fill: `url(#hatch-${kind})` })), words);
  replace($("map").querySelector(".keys"), hatched("never", "never turns"), hatched("unstable", "beyond the edge of stability"));
}

// ---- wiring

let waiting = 0;

function draw() {
  const sets = settings();
  const problem = problemOf(sets);
  const [now, turn, noisy] = [lossesAt(problem, sets.budget), afterTurn(problem), noiseTurn(problem)];
  for (const slider of SLIDERS) {
    const level = sets[slider.id];
    $(slider.id).value = placeOf(slider, level);
    $(slider.id).setAttribute("aria-valuetext", short(level, 4));
    $(`${slider.id}-told`).textContent = short(level, 4);
  }
  write(problem, now, turn, noisy, sets);
  drawLosses(problem, turn, noisy, sets.budget);
  drawModes(problem, now);
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => drawMap(sets));
}

function changed(changes) {
  Object.assign(state, changes);
  writeHash(state, FIRST);
  draw();
}

function readState() {
  const told = readHash();
  Object.assign(state, FIRST, told, { theme: THEMES.includes(told.theme) ? told.theme : FIRST.theme });
  applyTheme(state.theme);
}

function start() {
  replace($("controls"), SLIDERS.map((slider) => h("label.slide", {}, `${slider.words} `, h("output", { id: `${slider.id}-told`, for: slider.id }),
    h("input", { type: "range", id: slider.id, min: slider.whole ? slider.low : 0, max: slider.whole ? slider.high : LEVELS, step: slider.whole ? 1 : "any", oninput: (event) => changed({ [slider.id]: String(levelOf(slider, Number(event.target.value))) }), onkeydown: (event) => stepped(event, slider) }))),
    h("button", { type: "button", id: "reset", onclick: () => changed({ ...FIRST, theme: state.theme }) }, "Start again"));
  readState();
  wireTools(state, () => { applyTheme(state.theme); writeHash(state, FIRST); });
  addEventListener("hashchange", () => { readState(); draw(); });
  makeMap();
  draw();
  if (DATA.goldilocks) {
    $("goldilocks").hidden = false;
    $("goldilocks-sentence").textContent = `${DATA.goldilocks.sentence}.`;
    replace($("goldilocks-details"), DATA.goldilocks.details.map((line) => h("li", {}, line)));
    if (DATA.goldilocks.table) leagueTable($("goldilocks-table"), DATA.goldilocks.table, "As it came out", "", () => {});
  }
  document.documentElement.dataset.ready = "yes";
}

// Sliders without steps of their own move by a hundredth of their length for each press of a key.
function stepped(event, slider) {
  const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
  if (!way || slider.whole) return;
  event.preventDefault();
  const place = Math.min(LEVELS, Math.max(0, Number(event.target.value) + (way * LEVELS) / 100));
  changed({ [slider.id]: String(levelOf(slider, place)) });
}

start();
