"""The whole story in code, to be read from top to bottom; prints what it finds, in under a minute.

    python -m experiments.tour

Every chapter is a few lines on the public names of linsim. The experiments ask the same questions in full, with their
flags, seeds and figures: chapter 1 is experiments.incremental_learning, 2 progressive_sensitivity, 3 and 4 fixed_rate
and stages, 5 overtraining_chart, 6 regularization, 7 checkpoint_pair, 8 the chart's random start.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

import jax
import numpy as np
import xarray as xr

from linsim import (
    LinearTask,
    Phase,
    Problem,
    Rescale,
    Rotate,
    Session,
    chart,
    choose,
    critical_time,
    expected_loss,
    gaussian,
    identity,
    judge,
    locate,
    misaligned,
    noise_inflection,
    power_law,
    rise_time,
    shifted,
    stack_seeds,
    stage_losses,
)

MODES, TAU, RATE, STEPS = 8, 5.0, 0.005, 500
BUDGETS = np.unique(np.geomspace(20, 40_000, 60).astype(int))
SIGMA = power_law(MODES, scale=2.0)  # 2, 1, 2/3, ...: the features of the pre-training task
FACTORS = np.where(np.arange(1, MODES + 1) < 3, 1.0, 4.0)  # fine-tuning wants the weak ones four times as strong
TASK = LinearTask.create(SIGMA)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the chapters in order; there are no flags but --help."""
    ArgumentParser(prog="python -m experiments.tour", description=__doc__).parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    problem = transfer_problem()
    features_one_after_another(problem)
    ever_more_sensitive(problem)
    result = the_u(problem)
    why()
    the_chart(result)
    what_a_penalty_buys(result)
    a_pair_of_checkpoints(result)
    without_alignment()
    a_claim_that_can_be_refuted()
    return 0


def transfer_problem(start: tuple[np.ndarray, ...] | None = None, angle: float = 0.0) -> Problem:
    """Two layers from e^-tau I, pre-trained on TASK once to the largest budget, fine-tuned from each of BUDGETS."""
    shifts = [Rescale(range(3, MODES + 1), factor=4.0), *([Rotate(angle)] if angle else [])]
    return Problem(
        transfer=shifted(TASK, *shifts),
        initial=start or stack_seeds([identity((MODES, MODES, MODES), TAU)]),
        pretrain=Phase(learning_rate=RATE),
        finetune=Phase(learning_rate=0.001),
        budgets=BUDGETS,
        finetune_steps=STEPS,
    )


def checkpoints(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """(W_1, W_2) at every budget, by the solver that is exact and cheapest."""
    session = Session.open(problem, choose(problem).solver, np.float64)
    first, second = session.weights(session.pretrain().states)
    return np.asarray(first[:, 0]), np.asarray(second[:, 0])


def features_one_after_another(problem: Problem) -> None:
    """Chapter 1: pre-training learns the strong features first, each in a step, at a time known beforehand."""
    title("1. Features are learned one after another")
    first, second = checkpoints(problem)
    learned = np.einsum("bii->bi", second @ first)
    halves = [np.interp(0.5, learned[:, i] / SIGMA[i], BUDGETS) for i in range(MODES)]
    predicted = np.asarray(rise_time(SIGMA, np.exp(-2 * TAU))) / RATE
    print(table("half learned after (steps)", halves), table("closed form", predicted), sep="\n")


def ever_more_sensitive(problem: Problem) -> None:
    """Chapter 2: every feature learned makes the loss more sensitive to noise on the weights, until learning loses."""
    title("2. With every feature the network is more easily disturbed")
    gamma = 0.1
    noisy = np.asarray(jax.vmap(lambda *weights: expected_loss(weights, TASK.target, gamma))(*checkpoints(problem)))
    clean = np.asarray(jax.vmap(lambda *weights: expected_loss(weights, TASK.target, 0.0))(*checkpoints(problem)))
    sensitivity = noisy - clean
    print(f"loss rise under noise {gamma}: {sensitivity[0]:.3f} at first, {sensitivity[-1]:.3f} at last")
    turn = locate(BUDGETS, noisy)
    price = gamma**2 * 2 * MODES
    theory = noise_inflection(SIGMA, np.full(MODES, np.exp(-2 * TAU)), price, BUDGETS[0] * RATE, BUDGETS[-1] * RATE)
    print(f"the loss under noise is least at {turn.steps:,.0f} steps; closed form {theory.time / RATE:,.0f}")


def the_u(problem: Problem) -> xr.Dataset:
    """Chapter 3: fine-tune from every budget at one rate; the base loss falls all the way, the result does not."""
    title("3. Fine-tuned at a fixed rate, more pre-training ends worse")
    result = chart(problem, learning_rates=np.geomspace(1e-4, 1e-2, 9), strengths=np.array([0.0, 0.5, 1, 2, 4]))
    curve = result.isel(learning_rate=4, regularization=0, seed=0)
    best = int(curve["pretrain_loss_after"].argmin("pretrain_steps"))
    for name in ("pretrain_loss_before", "pretrain_loss_after"):
        first, least, last = (float(curve[name][at]) for at in (0, best, -1))
        print(f"{name:<22} {first:8.3f} -> {least:.3f} at {BUDGETS[best]:,} steps -> {last:.3f} at {BUDGETS[-1]:,}")
    return result


def why() -> None:
    """Chapter 4: a feature is harmful once fine-tuning carries it beyond twice the strength it was learned with."""
    title("4. Why: learned features are what fine-tuning can carry away")
    print(
        table("sigma_ft / sigma_pre", FACTORS), table("beyond 2: harmful", misaligned(SIGMA, SIGMA * FACTORS)), sep="\n"
    )
    print(table("from rate x steps on", critical_time(SIGMA, SIGMA * FACTORS)))
    losses = np.asarray(stage_losses(SIGMA, SIGMA * FACTORS))
    print(
        table("loss of stage 0, 1, ...", losses), f"least at stage {losses.argmin()}, as many as are harmless", sep="\n"
    )


def the_chart(result: xr.Dataset) -> None:
    """Chapter 5: the larger the rate, the earlier the inflection point; closed form beside simulation."""
    title("5. The larger the fine-tuning rate, the earlier the inflection point")
    cells = result.isel(regularization=0, seed=0)
    rates = "".join(f"{rate:>9.1g}" for rate in cells["learning_rate"].values)
    print(f"{'fine-tuning rate':<26}{rates}")
    print(
        table("inflection (steps)", cells["inflection_steps"]),
        table("closed form", cells["predicted_inflection_steps"]),
        sep="\n",
    )


def what_a_penalty_buys(result: xr.Dataset) -> None:
    """Chapter 6: a penalty towards the checkpoint lessens the harm, and the fine-tuning loss is the price."""
    title("6. A penalty towards the checkpoint lessens the harm, at a price")
    cells = result.isel(learning_rate=4, seed=0)
    print(table("lambda", cells["regularization"]), table("harm", cells["harm"]), sep="\n")
    print(table("fine-tuning loss", cells["finetune_loss_after"][-1]))


def a_pair_of_checkpoints(result: xr.Dataset) -> None:
    """Chapter 7: two checkpoints, 30 % more steps for the second: a lower base loss and, by one recipe, a worse end."""
    title("7. Two checkpoints, the second with 30 % more steps")
    curve = result.isel(learning_rate=4, regularization=0, seed=0)
    later = np.array([np.argmin(np.abs(BUDGETS - 1.3 * budget)) for budget in BUDGETS])
    after = curve["pretrain_loss_after"].values
    change = after[later] / after - 1
    pair = [int(np.argmax(change)), int(later[np.argmax(change)])]
    print(
        table("pre-training (steps)", BUDGETS[pair]), table("base loss", curve["pretrain_loss_before"][pair]), sep="\n"
    )
    print(table("after fine-tuning", after[pair]), f"   of all such pairs {np.mean(change > 0.02):.0%} end > 2 % worse")


def without_alignment() -> None:
    """Chapter 8: nothing of this needs aligned weights or tasks; where there is a closed form for them, it is there."""
    title("8. Random weights, and a task whose singular vectors turn")
    drawn = [gaussian((MODES,) * 3, np.exp(-TAU), key) for key in jax.random.split(jax.random.key(0), 5)]
    for name, problem in (
        ("Gaussian start, 5 seeds", transfer_problem(stack_seeds(drawn))),
        ("turned by 30 degrees", transfer_problem(angle=30.0)),
    ):
        result = chart(problem, learning_rates=np.array([1e-3]), strengths=np.array([0.0]))
        print(table(f"{name}: inflection", result["inflection_steps"].values.ravel()), f"  by {result.attrs['solver']}")


def a_claim_that_can_be_refuted() -> None:
    """Chapter 9: theory here is tried on problems that Hypothesis invents, and so are wrong variants of it."""
    title("9. A claim, tried on problems invented to break it")
    from linsim.claims.registry import CLAIMS

    print(judge(CLAIMS["misaligned-iff"], examples=50))


def title(words: str) -> None:
    """A heading."""
    print(f"\n{words}\n{'-' * len(words)}")


def table(name: str, values: Sequence[object] | np.ndarray | xr.DataArray | jax.Array) -> str:
    """A row of numbers after a name."""
    shown = np.asarray(values)
    cells = [
        str(value) if shown.dtype == bool else f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in shown
    ]
    return f"{name:<26}" + "".join(f"{cell:>9}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
