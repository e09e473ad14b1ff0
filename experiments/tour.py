"""The whole story in code, to be read from top to bottom; prints what it finds, in under a minute.

    python -m experiments.tour

Every chapter is a few lines on the public names of linsim. The experiments ask the same questions in full, with seeds,
flags and figures: 1 is incremental_learning, 2 progressive_sensitivity, 3 fixed_rate, 4 stages, 5 overtraining_chart,
6 regularization, 7 checkpoint_pair.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import linsim
from linsim import LinearTask, Measure, Phase, Problem, Rescale, Rotate, rise_under_noise, shifted, stack_seeds
from linsim.commands import cli
from linsim.commands.reading import OneLineParser
from linsim.commands.spoken import described, spoken

D, TAU, ETA, K = 8, 5.0, 0.005, 500  # modes, start e^-tau I, pre-training rate, fine-tuning steps
GAMMA = 0.1  # standard deviation of noise on the weights
BUDGETS = np.unique(np.geomspace(20, 40_000, 60).astype(int))
SIGMA = linsim.power_law(D, scale=2.0)  # 2, 1, 2/3, ...: the features of the pre-training task
FACTORS = np.where(np.arange(1, D + 1) < 3, 1.0, 4.0)  # fine-tuning wants the weak ones four times as strong
TASK = LinearTask.create(SIGMA)
LEARNED = Measure("learned", dims=("mode",), at="checkpoint", of=lambda seen: jnp.diagonal(seen.product))
MIDDLE: dict[str, Any] = {"learning_rate": 4, "seed": 0}  # the rate 0.001


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line, without flags but --help."""
    module = f"{__package__}.tour"
    OneLineParser(prog=spoken(module), description=described(module, __doc__)).parse_args(arguments)
    return cli.complete(lambda _: tell())


def tell() -> int:
    """All chapters; returns the exit status."""
    rates, strengths = np.geomspace(1e-4, 1e-2, 9), np.array([0.0, 0.5, 1, 2, 4])
    result = linsim.chart(problem(), rates, strengths, measures=[LEARNED, rise_under_noise([GAMMA])], tolerance=None)
    features_one_after_another(result)
    ever_more_sensitive(result)
    the_u(result)
    why()
    the_chart(result)
    what_a_penalty_buys(result)
    a_pair_of_checkpoints(result)
    without_alignment()
    a_claim_that_can_be_refuted()
    return 0


def problem(start: tuple[np.ndarray, ...] | None = None, angle: float = 0.0) -> Problem:
    """Two layers, pre-trained once on TASK to the largest budget, fine-tuned from every budget on a shifted task."""
    shifts = Rescale(range(3, D + 1), factor=4.0), Rotate(angle)
    initial = start or stack_seeds([linsim.identity((D, D, D), TAU)])
    return Problem(shifted(TASK, *shifts), initial, Phase(learning_rate=ETA), Phase(learning_rate=1e-3), BUDGETS, K)


def features_one_after_another(result: xr.Dataset) -> None:
    """Chapter 1: pre-training learns the strong features first, each in a step, at a time known beforehand."""
    title("1. Features are learned one after another: half of each after so many steps")
    learned = result["learned"].isel(seed=0).values
    show("simulated", [np.interp(0.5, share, BUDGETS) for share in (learned / SIGMA).T])
    show("closed form", np.asarray(linsim.rise_time(SIGMA, np.exp(-2 * TAU))) / ETA)


def ever_more_sensitive(result: xr.Dataset) -> None:
    """Chapter 2: every feature learned makes the loss more sensitive to noise on the weights, until learning loses."""
    title("2. With every feature the network is more easily disturbed by noise on its weights")
    rise = result["rise_under_absolute_noise"].sel(seed=0, absolute_noise=GAMMA).values
    noisy = result["pretrain_loss_before"].isel(seed=0).values + rise
    show("loss rise, first and last", rise[[0, -1]])
    theory = linsim.noise_inflection(SIGMA, np.full(D, np.exp(-2 * TAU)), GAMMA**2 * 2 * D, *BUDGETS[[0, -1]] * ETA)
    show("loss with noise turns at", [linsim.locate(BUDGETS, noisy, scale=float(noisy[0])).steps])
    show("closed form", [theory.time / ETA])


def the_u(result: xr.Dataset) -> None:
    """Chapter 3: fine-tune from every budget at one rate; the base loss falls all the way, the result does not."""
    title("3. Fine-tuned at a fixed rate, more pre-training ends worse")
    curve = result.isel(**MIDDLE, regularization=0)
    some = [0, int(curve["pretrain_loss_after"].argmin("pretrain_steps")), -1]
    show("pre-training steps", BUDGETS[some])
    show("loss before fine-tuning", curve["pretrain_loss_before"][some])
    show("loss after fine-tuning", curve["pretrain_loss_after"][some])


def why() -> None:
    """Chapter 4: a feature is harmful once fine-tuning carries it beyond twice the strength it was learned with."""
    title("4. Why: what was learned is what fine-tuning can carry away")
    show("sigma_ft / sigma_pre", FACTORS)
    show("harmful, as it is above 2", linsim.misaligned(SIGMA, SIGMA * FACTORS))
    show("from rate x steps on", linsim.critical_time(SIGMA, SIGMA * FACTORS))
    show("loss by features learned", linsim.stage_losses(SIGMA, SIGMA * FACTORS))


def the_chart(result: xr.Dataset) -> None:
    """Chapter 5: the larger the rate, the earlier the inflection point; closed form beside simulation."""
    title("5. The larger the fine-tuning rate, the earlier the inflection point")
    cells = result.isel(regularization=0, seed=0)
    show("rate, in units of 1e-4", cells["learning_rate"] * 1e4)
    show("inflection (steps)", cells["inflection_steps"])
    show("closed form", cells["predicted_inflection_steps"])


def what_a_penalty_buys(result: xr.Dataset) -> None:
    """Chapter 6: a penalty towards the checkpoint lessens the harm, and the fine-tuning loss is the price."""
    title("6. A penalty towards the checkpoint lessens the harm, at a price")
    cells = result.isel(**MIDDLE)
    show("lambda", cells["regularization"])
    show("harm", cells["harm"])
    show("fine-tuning loss", cells["finetune_loss_after"][-1])


def a_pair_of_checkpoints(result: xr.Dataset) -> None:
    """Chapter 7: two checkpoints, 30 % more steps for the second: a lower base loss and, by one recipe, a worse end."""
    title("7. Two checkpoints, the second with 30 % more steps")
    curve = result.isel(**MIDDLE, regularization=0)
    later = np.array([np.argmin(np.abs(BUDGETS - 1.3 * budget)) for budget in BUDGETS])
    after = curve["pretrain_loss_after"].values
    change = after[later] / after - 1
    pair = [int(np.argmax(change)), int(later[np.argmax(change)])]
    show("pre-training steps", BUDGETS[pair])
    show("loss before fine-tuning", curve["pretrain_loss_before"][pair])
    show("loss after fine-tuning", after[pair])
    show("share of pairs > 2 % worse", [np.mean(change > 0.02)])


def without_alignment() -> None:
    """Chapter 8: nothing of this needs aligned weights, or tasks that share their singular vectors."""
    title("8. Inflection points of random starts (5 seeds), and of a task turned by 30 degrees (steps)")
    drawn = [linsim.gaussian((D,) * 3, np.exp(-TAU), key) for key in jax.random.split(jax.random.key(0), 5)]
    for name, given in (("random", problem(stack_seeds(drawn))), ("turned", problem(angle=30.0))):
        result = linsim.chart(given, learning_rates=np.array([1e-3]), strengths=np.array([0.0]))
        show(f"{name}, by {result.attrs['solver']}", result["inflection_steps"].values.ravel())


def a_claim_that_can_be_refuted() -> None:
    """Chapter 9: theory here is tried on problems that Hypothesis invents, and so are wrong variants of it."""
    title("9. Chapter 4 as a claim, tried on problems that are invented to break it")
    from linsim.claims.registry import CLAIMS

    print(linsim.judge(CLAIMS["misaligned-iff"], examples=50))


def title(words: str) -> None:
    """A heading."""
    print(f"\n{words}\n{'-' * len(words)}")


def show(name: str, values: Any) -> None:
    """A row of numbers after a name."""
    cells = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in np.asarray(values, np.float64))
    print(f"{name:<26}" + "".join(f"{cell:>9}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
