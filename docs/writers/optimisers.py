"""All of optax and optax.contrib as the optimiser of a phase: right, evaluated at other weights, or refused.

    python -m docs.writers.optimisers

walks the library, and keeps what it finds in docs/measured/optimisers.json: every public function that gives a gradient
transformation is stepped on a small network by linsim and by optax alone.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from optax.contrib import SAMState, ScheduleFreeState

from linsim import InvalidInput, LinearTask, Phase, Problem, Rescale, power_law, shifted, stack_seeds
from linsim.dynamics import descent
from linsim.dynamics.moving.trial import validate_phase

RATE, STEPS = 0.02, 5
EXACT = 1e-12  # relative: the same operations, in another order at most

Verdict = Literal["right", "right, evaluated at other weights", "refused", "wrong"]
Factory = Callable[[Any], optax.GradientTransformation]


class Row(NamedTuple):
    """What comes of one function of optax."""

    name: str
    verdict: Verdict
    said: str
    """The line of a refusal; what is wrong."""


def _all(of: bool) -> Callable[[Any], Any]:
    return lambda weights: jax.tree.map(lambda _: of, weights)


def _half(step: Any) -> Any:
    return step < STEPS // 2


def _adversary() -> optax.GradientTransformation:
    return optax.chain(optax.contrib.normalize(), optax.sgd(0.3))


BEFORE: dict[str, Callable[[], optax.GradientTransformation]] = {
    "adaptive_grad_clip": lambda: optax.adaptive_grad_clip(0.1),
    "add_noise": lambda: optax.add_noise(0.01, 0.5, jax.random.key(0)),
    "apply_every": lambda: optax.apply_every(2),
    "chain": lambda: optax.chain(optax.clip(0.1), optax.trace(0.9)),
    "clip": lambda: optax.clip(0.1),
    "clip_by_block_rms": lambda: optax.clip_by_block_rms(0.1),
    "clip_by_global_norm": lambda: optax.clip_by_global_norm(0.1),
    "ema": lambda: optax.ema(0.9),
    "freeze": lambda: optax.freeze(_all(False)),
    "measure_with_ema": lambda: optax.measure_with_ema(lambda updates: updates, 0.9),
    "named_chain": lambda: optax.named_chain(("clip", optax.clip(0.1))),
    "scale": lambda: optax.scale(0.5),
    "scale_by_backtracking_linesearch": lambda: optax.scale_by_backtracking_linesearch(5),
    "scale_by_schedule": lambda: optax.scale_by_schedule(lambda step: 0.5),
    "scale_by_zoom_linesearch": lambda: optax.scale_by_zoom_linesearch(5),
    "snapshot": lambda: optax.snapshot("size", lambda *given, **more: jnp.zeros(())),
    "stateless": lambda: optax.stateless(lambda updates, params: updates),
    "stateless_with_tree_map": lambda: optax.stateless_with_tree_map(lambda update, param: 0.5 * update),
    "trace": lambda: optax.trace(0.9),
    "contrib.differentially_private_aggregate": lambda: optax.contrib.differentially_private_aggregate(
        1.0, 0.1, jax.random.key(0)
    ),
}
"""Transformations without a rate of their own that need arguments; they stand before `optax.sgd`."""

WITH_RATE: dict[str, Factory] = {
    "apply_if_finite": lambda rate: optax.apply_if_finite(optax.adam(rate), 3),
    "conditionally_mask": lambda rate: optax.conditionally_mask(optax.adam(rate), _half),
    "conditionally_transform": lambda rate: optax.conditionally_transform(optax.adam(rate), _half),
    "flatten": lambda rate: optax.flatten(optax.adam(rate)),
    "inject_hyperparams": lambda rate: optax.inject_hyperparams(optax.adam)(learning_rate=rate),
    "inject_stateful_hyperparams": lambda rate: optax.inject_stateful_hyperparams(optax.adam)(learning_rate=rate),
    "lookahead": lambda rate: optax.lookahead(optax.adam(rate), 3, 0.5),
    "masked": lambda rate: optax.masked(optax.adam(rate), _all(True)),
    "multi_transform": lambda rate: optax.multi_transform({True: optax.adam(rate)}, _all(True)),
    "MultiSteps": lambda rate: optax.MultiSteps(optax.adam(rate), 2).gradient_transformation(),
    "partition": lambda rate: optax.partition({True: optax.adam(rate)}, _all(True)),
    "selective_transform": lambda rate: optax.selective_transform(optax.adam(rate), freeze_mask=_all(False)),
    "with_extra_args_support": lambda rate: optax.with_extra_args_support(optax.adam(rate)),
    "contrib.dpsgd": lambda rate: optax.contrib.dpsgd(rate, 1.0, 0.1, seed=0),
    "contrib.mechanize": lambda rate: optax.contrib.mechanize(optax.sgd(rate)),
    "contrib.sam": lambda rate: optax.contrib.sam(optax.sgd(rate), _adversary(), sync_period=3),
    "contrib.schedule_free": lambda rate: optax.contrib.schedule_free(optax.sgd(rate), rate),
    "contrib.split_real_and_imaginary": lambda rate: optax.contrib.split_real_and_imaginary(optax.adam(rate)),
}
"""Optimisers that need more than a learning rate, or whose rate is that of another inside."""


def factories() -> Iterator[tuple[str, Factory]]:
    """Every public function of optax and optax.contrib that gives a transformation, as an optimiser."""
    for module, prefix in ((optax, ""), (optax.contrib, "contrib.")):
        for name in _givers(module):
            called, give = f"{prefix}{name}", getattr(module, name)
            if (factory := WITH_RATE.get(called)) is not None:
                yield called, factory
            elif any(word.endswith("learning_rate") for word in list(inspect.signature(give).parameters)[:1]):
                yield called, give
            else:
                yield called, partial(_before, BEFORE.get(called, give))


def _before(give: Callable[[], optax.GradientTransformation], rate: Any) -> optax.GradientTransformation:
    return optax.chain(give(), optax.sgd(rate))


def _givers(module: ModuleType) -> Iterator[str]:
    for name in sorted(vars(module), key=str.lower):
        value = getattr(module, name)
        if name.startswith("_") or not (inspect.isfunction(value) or hasattr(value, "gradient_transformation")):
            continue
        signature = inspect.signature(value)
        gives = "GradientTransformation" in str(signature.return_annotation) or "learning_rate" in signature.parameters
        if gives or inspect.isclass(value):
            yield name


def rows() -> Iterator[Row]:
    """The verdict on each."""
    for name, factory in factories():
        yield row(name, factory)


def row(name: str, factory: Factory, compare: bool = True) -> Row:
    """The verdict on one; where it is not compared with optax alone, it is right unless it is refused."""
    task = LinearTask.create(power_law(3))
    start = tuple(np.random.default_rng(layer).standard_normal((3, 3)) * 0.5 for layer in (1, 2))
    phase = Phase(RATE, optimizer=factory)
    transfer = shifted(task, Rescale([2, 3], 3.0))
    problem = Problem(transfer, stack_seeds([start]), phase, Phase(RATE), np.arange(1, 3), 1)
    try:
        validate_phase("pretrain", phase, problem)
    except InvalidInput as error:
        return Row(name, "refused", str(error))
    if not compare:
        return Row(name, "right", "")
    with jax.disable_jit():  # op by op nothing is compiled twice
        return _compared(name, factory, phase, tuple(map(jnp.asarray, start)), jnp.asarray(task.target))


def _compared(name: str, factory: Factory, phase: Phase, weights: Any, target: Any) -> Row:
    """Steps of linsim beside those of optax alone, at the weights that optax says are to be evaluated."""

    def slope(at: Any, _: Any = None) -> Any:
        return jax.grad(lambda weights: jnp.sum((weights[1] @ weights[0] - target) ** 2))(at)

    ours = descent.follow(slope, descent.begin(weights, phase), phase, STEPS).state
    optimizer, moving = factory(RATE), weights
    memory = optimizer.init(weights)
    for _ in range(STEPS):
        change, memory = optimizer.update(slope(moving), memory, moving)
        moving = optax.apply_updates(moving, change)
    evaluated = _evaluated(memory, moving)
    apart = max(float(jnp.max(jnp.abs(one - other))) for one, other in zip(ours, evaluated, strict=True))
    if not apart <= EXACT:
        return Row(name, "wrong", f"{apart:.1g} apart after {STEPS} steps")
    moved = all(bool(jnp.array_equal(one, other)) for one, other in zip(moving, evaluated, strict=True))
    return Row(name, "right" if moved else "right, evaluated at other weights", "")


def _evaluated(memory: Any, weights: Any) -> Any:
    """By what optax documents, of the state of the whole optimiser."""
    if isinstance(memory, SAMState):
        return weights if int(memory.steps_since_sync) == 0 else memory.cache
    return (
        optax.contrib.schedule_free_eval_params(memory, weights) if isinstance(memory, ScheduleFreeState) else weights
    )


KEPT = Path("docs/measured/optimisers.json")
OWN_NOISE = ("add_noise", "noisy_sgd")

PREFACE = """\
# Optimisers

What comes of every function of optax {version} that gives a gradient transformation, as `Phase(optimizer=...)`: one
that takes a learning rate as it is, another before `optax.sgd`, wrappers around `optax.adam`. Each was stepped by
linsim and by optax alone, to {exact:g}. What is refused is refused before anything is computed, in one line.

What optax lacks is in linsim: {{class}}`linsim.Muon` with exact polar factors, {{class}}`linsim.Shampoo`, and
{{class}}`linsim.NaturalGradient` in the product of two layers.
"""


def pages(root: Path) -> Mapping[str, str]:
    """The one page."""
    kept = json.loads((root / KEPT).read_text(encoding="utf-8"))
    table = ["| | as an optimiser | |", "|---|---|---|"]
    table += [f"| `{name}` | {verdict} | {why} |" for name, (verdict, why) in kept["rows"].items()]
    return {"optimisers.md": PREFACE.format(version=kept["optax"], exact=EXACT) + "\n" + "\n".join(table) + "\n"}


def why(row: Row) -> str:
    """What the table says beside a verdict."""
    if row.name in OWN_NOISE:
        return "its noise is its own: the same in all lanes, for all random starts"
    return row.said.partition("this fails with ")[2] or row.said.partition("allowed: ")[2]


def keep(root: Path) -> None:
    """Walk optax and keep the table."""
    table = {row.name: (row.verdict, why(row)) for row in rows()}
    told = json.dumps({"optax": optax.__version__, "rows": table}, indent=1)
    (root / KEPT).write_text(f"{told}\n", encoding="utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    keep(Path(__file__).parents[2])
