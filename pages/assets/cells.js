// What a result says of every cell of the map, medians over seeds; under the criteria of the sliders.

function median(values) {
  const known = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  if (!known.length) return NaN;
  const half = known.length >> 1;
  return known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
}

function spread(values) {
  const known = values.filter((value) => !Number.isNaN(value));
  return known.length ? [Math.min(...known), Math.max(...known)] : [NaN, NaN];
}

// Places of all seeds of a place.
function seedsOf(view, place) {
  let places = [place];
  for (const dim of view.seeds) {
    const count = view.axes[dim].values.length;
    places = places.flatMap((each) => Array.from({ length: count }, (_, at) => ({ ...each, [dim]: at })));
  }
  return places;
}

function lost(view, place) {
  return view.flags.some((flag) => valueAt(view.variables[flag], place));
}

// Values over budgets, one list a seed; NaN where a lane that is lost would say so.
function curvesAt(view, variable, place) {
  const count = view.axes[view.budget].values.length;
  const masked = !variable.name.includes("predicted_") && [view.x, view.y].every((dim) => !dim || variable.dims.includes(dim));
  const inSeeds = view.seeds.some((dim) => variable.dims.includes(dim)) ? seedsOf(view, place) : [place];
  return inSeeds.map((seed) => {
    const here = { ...seed };
    return Array.from({ length: count }, (_, at) => {
      here[view.budget] = at;
      return masked && lost(view, here) ? NaN : Number(valueAt(variable, here));
    });
  });
}

// Whether a seed's curve turns by more than the criteria.
function turns(view, turning, place, criteria) {
  if (!turning.judged) return !Number.isNaN(valueAt(view.variables[turning.place], place));
  const [harm, excess] = turning.judged.map((name) => valueAt(view.variables[name], place));
  return harm > criteria.least_harm && !(excess <= criteria.least_excess);
}

// Of one cell: {inflection, low, high, harm, excess, turned, seeds, resolved}; inflection is infinite where it never turns.
function turnAt(view, turning, kept, criteria) {
  const told = (name, seed) => (name ? Number(valueAt(view.variables[name], seed)) : NaN);
  const turned = kept.map((seed) => turns(view, turning, seed, criteria));
  const inflection = median(kept.map((seed, at) => (turned[at] ? told(turning.place, seed) : Infinity)));
  const here = kept.filter((_, at) => turned[at]);
  const harm = median(kept.map((seed) => told(turning.harm, seed)));
  const excess = median(kept.map((seed) => told(turning.excess, seed)));
  const known = turning.harm ? !Number.isNaN(harm) : here.length > 0;  // without harm nothing tells that there is no turn
  const counted = (value) => (Number.isFinite(inflection) || Number.isNaN(value) ? value : 0);
  return {
    inflection: known ? inflection : NaN,
    low: median(here.map((seed) => told(turning.low, seed))),
    high: median(here.map((seed) => told(turning.high, seed))),
    harm: counted(harm),
    excess: counted(excess),
    turned: here.length,
    seeds: kept.length,
    resolved: turning.resolved ? kept.every((seed) => told(turning.resolved, seed)) : null,
  };
}

// What going on from a budget to the largest one costs: loss there / loss here - 1, below 0 where it gains.
function costAt(view, place, budget) {
  const loss = view.variables[view.loss];
  const last = view.axes[view.budget].values.length - 1;
  return median(seedsOf(view, place).map((seed) => {
    const ends = [budget, last].map((at) => ({ ...seed, [view.budget]: at }));
    if (ends.some((end) => lost(view, end))) return NaN;
    const [here, there] = ends.map((end) => valueAt(loss, end));
    return here === there ? 0 : there / here - 1;
  }));
}

// Of a cell: seeds of which something is known, and "", "unstable", "some" (diverged) or "all" (diverged) of its lanes.
function lanesAt(view, place) {
  const [diverged, unstable] = ["diverged", "unstable"].map((flag) => view.variables[view.flags.find((name) => name.endsWith(flag))]);
  const count = view.axes[view.budget].values.length;
  let [some, all, beyond] = [false, Boolean(diverged), false];
  const kept = seedsOf(view, place).filter((seed) => {
    const first = { ...seed, [view.budget]: 0 };
    const flagged = (variable) => {
      if (!variable) return () => false;
      const [start, step] = [offsetOf(variable, first), variable.strides[view.budget] || 0];
      return (at) => variable.values[start + at * step] !== 0;
    };
    const [gone, wild] = [flagged(diverged), flagged(unstable)];
    let known = false;
    for (let at = 0; at < count; at++) {
      const lane = gone(at);
      some = some || lane;
      all = all && lane;
      beyond = beyond || (!lane && wild(at));
      known = known || !(lane || wild(at));
    }
    return known;
  });
  return { kept, trouble: all ? "all" : some ? "some" : beyond ? "unstable" : "" };
}

const TROUBLES = { all: "all runs diverged", some: "some runs diverged", unstable: "some runs beyond the edge of stability", never: "never turns", none: "nothing known" };

// What the map can show: {id, words, scale, of(cell place, cell)}.
function quantitiesOf(view) {
  const found = [];
  for (const [at, turning] of view.turns.entries()) {
    const of = at === 0 ? "" : `, ${turning.words}`;
    const tft = turning.words === "fine-tuning loss" ? "T_ft: " : "";
    const told = (part) => (cell) => cell.turns[at][part];
    found.push({ id: `turn${at}`, words: `${tft}inflection budget${of} (steps)`, kind: "budget", of: told("inflection"), turn: at });
    if (turning.harm) found.push({ id: `harm${at}`, words: `harm${of}`, kind: "harm", of: told("harm"), turn: at });
    if (turning.excess) found.push({ id: `excess${at}`, words: `excess${of}`, kind: "harm", of: told("excess"), turn: at });
  }
  if (view.x && view.costs) found.push({ id: "cost", words: "what going on would cost from the budget", kind: "cost", of: (cell, context) => costAt(view, cell.place, context.budget) });
  const used = new Set(view.turns.flatMap((turn) => [turn.place, turn.harm, turn.excess, ...(turn.judged || [])]));
  for (const name of view.cells.filter((each) => !used.has(each))) {
    const variable = view.variables[name];
    found.push({ id: name, words: `${variable.words}${variable.units && variable.units !== "1" ? ` (${variable.units})` : ""}`, kind: "plain", of: (cell) => median(seedsOf(view, cell.place).map((seed) => Number(valueAt(variable, seed)))) });
  }
  return found;
}
