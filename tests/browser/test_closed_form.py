"""The closed form in the browser is that of the library: a hundred states of the sliders, to 1e-9."""

import json
import shutil
import subprocess
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linsim as ls
from linsim.commands.building import build_problem
from linsim.commands.config import ChartConfig
from linsim.commands.transfers import build_transfer
from linsim.dynamics.modes.mode_flow import mode_flow
from linsim.theory.prices import modes_loss
from pages.page import asset

CLOSE = 1e-9
"""Of the loss of the zero network, or of the number itself: some dozen operations in float64 leave 1e-14, and
strengths down to 5e-4 of the largest take four digits of it."""
STATES = 100


def states():
    """Anywhere within the sliders' ranges, with some at the ends that begin with 0."""
    draw = np.random.default_rng(0)
    span = {"exponent": (0.25, 3), "factor": (0.25, 8), "tau": (1, 8)}
    logs = {"rate": (1e-5, 0.025), "strength": (0.1, 16), "noise": (0.01, 0.5), "budget": (20, 40_000)}
    columns = {name: draw.uniform(*ends, STATES) for name, ends in span.items()}
    columns |= {name: np.exp(draw.uniform(*np.log(ends), STATES)) for name, ends in logs.items()}
    columns["from"] = draw.integers(1, 17, STATES)
    columns["strength"][::4] = columns["noise"][::5] = 0.0
    return [{name: values[at].item() for name, values in columns.items()} for at in range(STATES)]


TELL = """states.map((state) => {
  const problem = problemOf(state);
  const turns = { turn: afterTurn(problem), noise: noiseTurn(problem) };
  return { ...lossesAt(problem, state.budget), ...turns, ...thresholds(problem) };
})"""
BY_NODE = """
const { problemOf, lossesAt, afterTurn, noiseTurn, thresholds } = require(process.argv[1]);
const states = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(%s, (key, value) => (value === Infinity ? "inf" : value)));
"""


@pytest.fixture(scope="module", params=["node", "Chromium"])
def in_script(request, tmp_path_factory):
    """What the script says of every state, run by either of what may be there."""
    if request.param == "Chromium":
        page = request.getfixturevalue("chromium").new_page()
        told = page.evaluate(f"(states) => {{ {asset('closed_form.js')}\nreturn {TELL}; }}", states())
        page.close()
        return told
    if shutil.which("node") is None:
        pytest.skip("no node on the PATH, to run the script without a browser")
    path = tmp_path_factory.mktemp("script") / "closed_form.js"
    path.write_text(asset("closed_form.js"))
    command = ["node", "-e", BY_NODE % TELL, str(path)]
    done = subprocess.run(command, input=json.dumps(states()), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class Library(NamedTuple):
    """What the library says of every state, states along the first axis."""

    strengths: np.ndarray
    wanted: np.ndarray
    before: np.ndarray
    after: np.ndarray


def column(name):
    return np.array([state[name] for state in states()])


def problem():
    """Strengths of both tasks, starts, penalties, fine-tuning times and noise prices of every state."""
    strengths = np.stack([ls.power_law(16, 2.0, exponent) for exponent in column("exponent")])
    shifted = np.arange(1, 17) >= column("from")[:, None]
    wanted = np.where(shifted, column("factor")[:, None], 1.0) * strengths
    begun = np.exp(-2 * column("tau"))
    return strengths, wanted, begun, column("strength"), 500 * column("rate"), column("noise") ** 2 * 32


def before(log_budget, strengths, begun):
    return mode_flow(begun, strengths, 1.0, 0.005 * jnp.exp(log_budget))


def after_loss(log_budget, strengths, wanted, begun, penalty, time, price):
    return jnp.sum((strengths - ls.tuned(before(log_budget, strengths, begun), wanted, penalty, time)) ** 2)


def noise_loss(log_budget, strengths, wanted, begun, penalty, time, price):
    return modes_loss(before(log_budget, strengths, begun), strengths, price)


@cache
def compiled(function):
    return jax.jit(jax.vmap(function))


def everywhere(function, *arguments):
    return np.asarray(compiled(function)(*arguments))


AFTER_SLOPE, NOISE_SLOPE = jax.grad(after_loss), jax.grad(noise_loss)


@pytest.fixture(scope="module")
def library():
    strengths, wanted, begun, penalty, time, _ = problem()
    now = everywhere(before, np.log(column("budget")), strengths, begun)
    return Library(strengths, wanted, now, everywhere(ls.tuned, now, wanted, penalty, time))


def gathered(in_script, *names):
    """Of every state what the script says, as floats."""
    told = [[state[name] for state in in_script] for name in names]
    return np.array([[np.inf if value == "inf" else value for value in np.ravel(each)] for each in told], float)


def close(told, right, scale):
    np.testing.assert_array_less(np.abs(told - right), CLOSE * scale)


def test_losses_and_strengths_are_those_of_the_library(in_script, library):
    for name in ("before", "after"):
        told = np.array([state[name] for state in in_script])
        np.testing.assert_allclose(told, getattr(library, name), rtol=CLOSE)
    for name, target in (("pretrain", library.strengths), ("finetune", library.wanted)):
        for when in ("before", "after"):
            (told,) = gathered(in_script, f"{name}{when.capitalize()}")
            right = np.sum((target - getattr(library, when)) ** 2, axis=1)
            close(told, right, np.sum(target**2, axis=1))


def test_the_loss_under_noise_is_that_of_weights_that_are_moved(in_script, library):
    """By the exact expectation over the noise, which knows neither price nor constant."""
    layers = np.sqrt(library.before)[:, :, None] * np.eye(16)
    targets = library.strengths[:, :, None] * np.eye(16)
    right = everywhere(
        lambda layer, target, scale: ls.expected_loss((layer, layer), target, (scale, scale)),
        layers,
        targets,
        column("noise"),
    )
    (told,) = gathered(in_script, "underNoise")
    close(told, right, np.sum(library.strengths**2, axis=1) + right)


def test_both_thresholds_are_those_of_the_library(in_script, library):
    _, _, _, penalty, time, price = problem()
    right = np.asarray(ls.critical_time(library.strengths, library.wanted, penalty[:, None] * np.ones(16)))
    told = gathered(in_script, "critical").reshape(STATES, 16)
    np.testing.assert_allclose(told, right, rtol=CLOSE)
    harmful = np.asarray(ls.misaligned(library.strengths, library.wanted, penalty[:, None] * np.ones(16)))
    assert [state["misaligned"] for state in in_script] == harmful.tolist()
    assert [state["harmful"] for state in in_script] == (time[:, None] > right).tolist()
    assert [state["useful"] for state in in_script] == np.sum(library.strengths > price[:, None], axis=1).tolist()


@pytest.mark.parametrize(
    ("name", "loss", "slope_of", "constant"),
    [("turn", after_loss, AFTER_SLOPE, 0.0), ("noise", noise_loss, NOISE_SLOPE, 16.0**3)],
)
def test_turns_are_where_the_slope_of_the_library_is_0_and_as_deep(in_script, name, loss, slope_of, constant):
    """By derivatives of the library's own flow: the certified roots of `predict` are right to 1e-8 only."""
    given, turns = problem(), [state[name] for state in in_script]
    zero = np.sum(given[0] ** 2, axis=1)
    budget, least, last, harm, excess = (
        np.array([turn[part] for turn in turns]) for part in ("budget", "least", "last", "harm", "excess")
    )
    added = constant * column("noise") ** 4
    lowest, end = (everywhere(loss, np.log(at), *given) + added for at in (budget, np.full(STATES, 40_000.0)))
    close(least, lowest, zero + added)
    close(last, end, zero + added)
    close(excess, (end - lowest) / zero, 1 + added / zero)
    told = np.array([turn["turns"] for turn in turns])
    close(harm[told], (end / lowest - 1)[told], (2 + end / lowest)[told] * (zero / lowest)[told])
    inside = told & (budget > 20)
    slope = everywhere(slope_of, np.log(budget), *given)
    bend = (everywhere(slope_of, np.log(budget) + 1e-4, *given) - slope) / 1e-4
    # The root to 1e-9 of log budget, or to where rounding of the losses hides the slope.
    np.testing.assert_array_less(np.abs(slope)[inside], (CLOSE * bend + 1e-13 * zero)[inside])
    grid = np.linspace(np.log(20), np.log(40_000), 97)
    curves = np.stack([everywhere(loss, np.full(STATES, at), *given) for at in grid]) + added
    assert (curves.min(axis=0) >= least - CLOSE * (zero + added)).all(), "nowhere is it lower"
    assert inside.sum() >= 15


def test_the_page_is_about_the_default_problem():
    problem = build_problem(ChartConfig(), build_transfer(ChartConfig()))
    np.testing.assert_allclose(np.diagonal(problem.transfer.pretrain.target), ls.power_law(16, 2.0))
    factors = np.diagonal(problem.transfer.finetune.target) / np.diagonal(problem.transfer.pretrain.target)
    np.testing.assert_allclose(factors, np.where(np.arange(16) < 4, 1.0, 4.0))
    np.testing.assert_allclose(np.diagonal(problem.initial[0][0]), np.exp(-5.0))
    assert problem.finetune_steps == 500
    assert problem.pretrain.learning_rate == 0.005
    assert (problem.budgets[0], problem.budgets[-1]) == (20, 40_000)


def test_sliders_say_what_the_script_says(opened, theory_page, in_script):
    """Some of the states, through the address of the page; engines differ in the last bit of an exponential."""
    page = opened(theory_page)
    for state, told in list(zip(states(), in_script, strict=True))[::20]:
        hash = "&".join(f"{name}={value!r}" for name, value in state.items())
        found = page.evaluate(
            """(hash) => new Promise((done) => {
                addEventListener("hashchange", () => setTimeout(() => done(Object.fromEntries(
                    [...document.querySelectorAll("[data-told]")].map(({ dataset }) => [dataset.told, dataset.value])
                ))), { once: true });
                location.hash = hash;
            })""",
            hash,
        )
        for name in ("pretrainBefore", "pretrainAfter", "finetuneBefore", "finetuneAfter"):
            assert float(found[name]) == pytest.approx(told[name], rel=CLOSE)
        assert float(found["turn"]) == pytest.approx(told["turn"]["budget"], rel=CLOSE)
