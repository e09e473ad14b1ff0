// The default problem in closed form: two aligned, balanced layers, mode by mode, in float64. Loss without 1/2; flow time
// is learning rate x steps. Held against linsim at a hundred states to 1e-9 (tests/browser/test_closed_form.py).

const PROBLEM = { modes: 16, scale: 2, pretrainRate: 0.005, finetuneSteps: 500, first: 20, last: 40000 };
const LEAST_HARM = 0.01;
const LEAST_EXCESS = 0.001;
const GRID = 400;  // budgets on which the lowest is looked for, before the root of the slope is taken
const HALVINGS = 60;  // of the interval that holds it

// {exponent, factor, from, tau, rate, strength, noise} -> strengths of both tasks, where modes start, and the rest.
function problemOf({ exponent, factor, from, tau, rate, strength, noise }) {
  const strengths = Array.from({ length: PROBLEM.modes }, (_, at) => PROBLEM.scale * (at + 1) ** -exponent);
  const wanted = strengths.map((sigma, at) => (at + 1 >= from ? factor * sigma : sigma));
  return {
    strengths, wanted, begun: Math.exp(-2 * tau), strength, noise, rate,
    time: rate * PROBLEM.finetuneSteps,
    price: noise ** 2 * 2 * PROBLEM.modes,  // G = gamma^2 (d_in + d_out)
    constant: noise ** 4 * PROBLEM.modes ** 3,  // gamma^4 d_out h d_in
    zeroLoss: strengths.reduce((sum, sigma) => sum + sigma * sigma, 0),
  };
}

// s(t) of ds/dt = 4 s (a - b s) from s0 > 0, a > 0: (a / b) / (1 + (a / (b s0) - 1) e^(-4 a t)). [Saxe et al. 2014]
function modeFlow(start, drive, stiffness, time) {
  const limit = drive / stiffness;
  return limit / (1 + (limit / start - 1) * Math.exp(-4 * drive * time));
}

// Strengths after so many steps of pre-training.
function learned(problem, budget) {
  return problem.strengths.map((sigma) => modeFlow(problem.begun, sigma, 1, PROBLEM.pretrainRate * budget));
}

// F_T(s0) of fine-tuning with the penalty lambda ||P - P_0||^2.
function tuned(problem, mode, start) {
  return modeFlow(start, problem.wanted[mode] + problem.strength * start, 1 + problem.strength, problem.time);
}

// dF_T / ds0; the penalty pulls to the start, which moves limit and speed as well.
function tunedSlope(problem, mode, start) {
  const [lambda, time] = [problem.strength, problem.time];
  const limit = (problem.wanted[mode] + lambda * start) / (1 + lambda);
  const left = Math.exp(-4 * (1 + lambda) * limit * time);
  const moved = lambda / (1 + lambda);
  const below = 1 + (limit / start - 1) * left;
  const slope = (moved / start - limit / start ** 2) * left - (limit / start - 1) * 4 * lambda * time * left;
  return moved / below - (limit * slope) / below ** 2;
}

function squaredDistance(target, reached) {
  return target.reduce((sum, sigma, at) => sum + (sigma - reached[at]) ** 2, 0);
}

// Everything at one budget.
function lossesAt(problem, budget) {
  const before = learned(problem, budget);
  const after = before.map((start, mode) => tuned(problem, mode, start));
  return {
    before, after,
    pretrainBefore: squaredDistance(problem.strengths, before),
    pretrainAfter: squaredDistance(problem.strengths, after),
    finetuneBefore: squaredDistance(problem.wanted, before),
    finetuneAfter: squaredDistance(problem.wanted, after),
    underNoise: squaredDistance(problem.strengths, before) + problem.price * before.reduce((sum, s) => sum + s, 0) + problem.constant,
  };
}

// Slopes along log budget: of the pre-training loss after fine-tuning, and of the loss under noise.
function afterSlope(problem, budget) {
  const time = PROBLEM.pretrainRate * budget;
  return learned(problem, budget).reduce((sum, s, mode) => {
    const rise = 4 * s * (problem.strengths[mode] - s) * time;
    return sum - 2 * (problem.strengths[mode] - tuned(problem, mode, s)) * tunedSlope(problem, mode, s) * rise;
  }, 0);
}

function noiseSlope(problem, budget) {
  const time = PROBLEM.pretrainRate * budget;
  return learned(problem, budget).reduce((sum, s, mode) => {
    const sigma = problem.strengths[mode];
    return sum + (problem.price - 2 * (sigma - s)) * 4 * s * (sigma - s) * time;
  }, 0);
}

function budgetsOf(count) {
  const ratio = Math.log(PROBLEM.last / PROBLEM.first);
  return Array.from({ length: count }, (_, at) => PROBLEM.first * Math.exp((ratio * at) / (count - 1)));
}

// The least value within the budgets: {budget, least, last, harm, excess, turns}; between budgets by bisection of the slope.
function turnOf(problem, valueAt, slopeAt, count = GRID, halvings = HALVINGS) {
  const budgets = budgetsOf(count);
  const values = budgets.map(valueAt);
  const last = values[count - 1];
  let best = 0;
  values.forEach((value, at) => (best = value < values[best] ? at : best));
  let [budget, least] = [budgets[best], values[best]];
  let [low, high] = [Math.log(budgets[Math.max(best - 1, 0)]), Math.log(budgets[Math.min(best + 1, count - 1)])];
  if (slopeAt(Math.exp(low)) < 0 && slopeAt(Math.exp(high)) > 0) {
    for (let step = 0; step < halvings; step++) {
      const middle = (low + high) / 2;
      if (slopeAt(Math.exp(middle)) < 0) low = middle;
      else high = middle;
    }
    const [place, value] = [Math.exp((low + high) / 2), valueAt(Math.exp((low + high) / 2))];
    if (value <= least) [budget, least] = [place, value];
  }
  const harm = last === least ? 0 : last / least - 1;
  const excess = (last - least) / problem.zeroLoss;
  return { budget, least, last, harm, excess, turns: harm > LEAST_HARM && excess > LEAST_EXCESS };
}

function afterTurn(problem, count, halvings) {
  return turnOf(problem, (budget) => lossesAt(problem, budget).pretrainAfter, (budget) => afterSlope(problem, budget), count, halvings);
}

function noiseTurn(problem) {
  return turnOf(problem, (budget) => lossesAt(problem, budget).underNoise, (budget) => noiseSlope(problem, budget));
}

// T* from which on fine-tuning carries a learned mode beyond twice its strength; infinite where its limit is not.
function criticalTime(sigma, wanted, lambda) {
  const limit = (wanted + lambda * sigma) / (1 + lambda);
  if (!(limit > 2 * sigma)) return Infinity;
  return Math.log((2 * (limit - sigma)) / (limit - 2 * sigma)) / (4 * (1 + lambda) * limit);
}

// The two thresholds: modes that fine-tuning to convergence turns into harm, sigma_ft > (2 + lambda) sigma, with the time it
// takes; and modes that are worth learning under noise, sigma > G.
function thresholds(problem) {
  const critical = problem.strengths.map((sigma, mode) => criticalTime(sigma, problem.wanted[mode], problem.strength));
  return {
    critical,
    misaligned: problem.strengths.map((sigma, mode) => problem.wanted[mode] > (2 + problem.strength) * sigma),
    harmful: critical.map((time) => problem.time > time),
    useful: problem.strengths.filter((sigma) => sigma > problem.price).length,
  };
}

// Rate x top curvature of fine-tuning: beyond 2 descent does not follow the flow.
function stepsize(problem) {
  const lambda = problem.strength;
  const sizes = problem.strengths.map((sigma, mode) => Math.max(sigma, (problem.wanted[mode] + lambda * sigma) / (1 + lambda)));
  return problem.rate * 4 * (1 + lambda) * Math.max(...sizes);
}

if (typeof module !== "undefined") module.exports = { PROBLEM, problemOf, lossesAt, afterTurn, noiseTurn, thresholds, criticalTime, stepsize, budgetsOf };
