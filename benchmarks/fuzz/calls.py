"""Every public name with arguments that it takes: what wrong values are put into, one after another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import linsim as ls
from linsim.dynamics.moving.trial import validate
from linsim.measures.estimates import Estimate
from linsim.precision import computing_in


@dataclass(frozen=True)
class Call:
    """A public callable, and arguments by name that it takes."""

    name: str
    """Of the public name, with that of a method behind a dot."""
    function: Callable[..., Any]
    sound: Mapping[str, Any]
    slow: bool = False
    """Whether it compiles, or trains, where it is given what it takes."""

    def __call__(self, **changes: Any) -> Any:
        """What it gives for some other arguments."""
        return self.function(**{**self.sound, **changes})

    @property
    def told(self) -> str:
        """What it promises in words."""
        owner = getattr(ls, self.name.partition(".")[0])
        return f"{inspect.getdoc(owner)} {inspect.getdoc(getattr(self.function, 'func', self.function))}"


def calls() -> Iterator[Call]:
    """All of them; a public name that is missing here is a failed test."""
    yield from _tasks()
    yield from _networks()
    yield from _phases()
    yield from _closed_forms()
    yield from _computed()
    yield from _monitors()
    yield from _forecasts()
    yield from _claims()


def _call(name: str, function: Callable[..., Any] | None = None, /, *, slow: bool = False, **sound: Any) -> Call:
    found = getattr(ls, name) if function is None else function
    return Call(name, found, sound, slow)


TASK = ls.LinearTask.create(ls.power_law(3))
TRANSFER = ls.shifted(TASK, ls.Rescale([2, 3], 4.0))
WEIGHTS = ls.identity((3, 3, 3), 2.0)
PHASE = ls.Phase(0.01)
BUDGETS = np.array([5, 10, 20])
FIELDS: dict[str, Any] = {
    "transfer": TRANSFER,
    "initial": ls.stack_seeds([WEIGHTS]),
    "pretrain": ls.Phase(0.02),
    "finetune": PHASE,
    "budgets": BUDGETS,
    "finetune_steps": 5,
    "idealised": False,
    "seed": 0,
}
PROBLEM = ls.Problem(**FIELDS)
SIGMA, START = np.array([2.0, 1.0]), np.array([0.01, 0.01])
LOSSES = np.array([3.0, 1.0, 2.0])


def _tasks() -> Iterator[Call]:
    whole: dict[str, Any] = {"left": np.eye(3), "right": np.eye(3), "input_covariance": np.eye(3), "label_noise": 0.0}
    yield _call("LinearTask", strengths=SIGMA[[0, 1, 1]], **whole)
    create = ls.LinearTask.create
    yield _call("LinearTask.create", create, strengths=SIGMA, outputs=3, inputs=3, **whole)
    target: dict[str, Any] = {"target": np.eye(3), "input_covariance": np.eye(3), "label_noise": 0.0}
    yield _call("LinearTask.from_target", ls.LinearTask.from_target, **target)
    X = np.arange(12.0).reshape(6, 2) % 5
    yield _call("LinearTask.from_data", ls.LinearTask.from_data, X=X, Y=X[:, :1])
    posed: dict[str, Any] = {"size": 4, "noise": 0.1, "rng": np.random.default_rng(0), "inputs": "normal"}
    yield _call("LinearTask.posed", TASK.posed, **posed)
    yield _call("LinearTask.along_modes", TASK.along_modes, product=np.eye(3))
    yield _call("LinearTask.loss_of", TASK.loss_of, product=np.eye(3))
    yield _call("Transfer", pretrain=TASK, finetune=TASK)
    yield _call("power_covariance", basis=np.eye(3), exponent=1.0)
    yield _call("zipf", count=3, exponent=1.0)
    contexts: dict[str, Any] = {"inputs": ((1.0, 0.0), (0.5, 1.0)), "frequencies": (0.25, 0.75)}
    yield _call("CrossEntropy", labels="hard", smoothing=0.1, link="softmax", **contexts)
    conditional = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]
    yield _call("bigram", conditional=conditional, frequencies=[0.6, 0.4], objective=ls.CrossEntropy())
    yield _call("LabelledExamples", inputs=[[1.0, 0.0], [0.5, 1.0]], labels=[[0.9, 0.1], [0.2, 0.8]])
    yield _call("classified", inputs=[[1.0, 0.0], [0.5, 1.0]], classes=[0, 1], outputs=3, smoothing=0.1)
    yield _call("random_basis", size=3, rng=np.random.default_rng(0))
    yield _call("power_law", modes=3, scale=2.0, exponent=1.0)
    yield _call("exponential", modes=3, scale=2.0, rate=0.5)
    yield _call("flat_blocks", sizes=[2, 1], levels=[2.0, 1.0])
    yield _call("explicit", values=[2.0, 1.0])
    yield _call("shifted", lambda task, shift: ls.shifted(task, shift), task=TASK, shift=ls.Rotate(30.0))
    yield _shift("Rescale", modes=[1, 2], factor=2.0)
    yield _shift("Permute", order=[3, 1, 2])
    yield _shift("Rotate", degrees=30.0, side="right")
    yield _shift("NewModes", task=ls.LinearTask.create(SIGMA, outputs=3, inputs=3), strengths=[0.5])
    yield _shift("ZeroModes", modes=[1])
    yield _shift("Blend", shift=ls.Rotate(30.0), fraction=0.5)
    yield _call("Shift", lambda shift, task: ls.shifted(task, shift), shift=lambda task: task, task=TASK)


def _shift(name: str, task: ls.LinearTask = TASK, **fields: Any) -> Call:
    """A shift, and what it makes of a task."""
    return _call(name, lambda task, **given: getattr(ls, name)(**given)(task), task=task, **fields)


def _networks() -> Iterator[Call]:
    key, widths = jax.random.key(0), (3, 2, 3)
    yield _call("LinearNetwork", weights=WEIGHTS)
    yield _call("LinearNetwork.__call__", ls.LinearNetwork(WEIGHTS), inputs=jnp.ones((4, 3)))
    yield _call("identity", widths=widths, tau=1.0)
    yield _call("aligned", widths=(3, 3, 3), task=TASK, strengths=np.array([0.5, 0.2, 0.1]))
    yield _call("rank_checkpoint", widths=(3, 3, 3), task=TASK, modes=2)
    yield _call("balanced", widths=widths, scale=0.1, key=key)
    yield _call("lambda_balanced", widths=widths, scale=0.1, balance=0.5, key=key)
    yield _call("gaussian", widths=widths, scale=0.1, key=key)
    yield _call("stack_seeds", weights=[WEIGHTS, WEIGHTS])
    yield _call("population_loss", weights=WEIGHTS, target=np.eye(3), covariance=np.eye(3))
    yield _call("expected_loss", weights=WEIGHTS, target=np.eye(3), scales=0.1, covariance=np.eye(3))


def _problem(**fields: Any) -> ls.Problem:
    """A problem whose phases can move its weights: what is wrong with a phase is known where it is used."""
    made = ls.Problem(**FIELDS | {"finetune": ls.Phase(**fields)})
    with computing_in("float64"):
        validate(made)
    return made


def _phases() -> Iterator[Call]:
    numbers: dict[str, Any] = dict.fromkeys(("product_penalty", "weight_penalty", "weight_decay", "momentum"), 0.1)
    parts: dict[str, Any] = dict.fromkeys(("optimizer", "schedule", "batch_size", "averaging", "gradient_at", "moves"))
    yield _call("Phase", _problem, learning_rate=0.1, nesterov=False, terms=(), **numbers, **parts)
    yield _call("Phase.put", PHASE.put, values={"momentum": 0.5})
    at: dict[str, Any] = {"learning_rate": 0.1, "regularizer": "product_penalty", "strength": 0.5}
    yield _call("Phase.at", PHASE.at, **at)
    yield _call("Problem.put", PROBLEM.put, pretrain={}, finetune={"momentum": 0.5})
    yield _call("Problem.tuned", PROBLEM.tuned, **at)
    yield _part("Term", lambda **fields: {"terms": (ls.Term(**fields),)}, name="size", of=_term, strength=0.1)
    yield _part("ExponentialAverage", lambda **fields: {"averaging": ls.ExponentialAverage(**fields)}, decay=0.9)
    yield _part("TailAverage", lambda **fields: {"averaging": ls.TailAverage(**fields)}, start=2)
    sharp: dict[str, Any] = {"radius": 0.1, "start": 0}
    yield _part("SharpnessAware", lambda **fields: {"gradient_at": ls.SharpnessAware(**fields)}, **sharp)
    yield _part("Dropout", lambda **fields: {"gradient_at": ls.Dropout(**fields)}, probability=0.1)
    yield _part("WeightNoise", lambda **fields: {"gradient_at": ls.WeightNoise(**fields)}, scale=0.1)
    yield _part("LayerRates", lambda **fields: {"gradient_at": ls.LayerRates(**fields)}, ratio=2.0)
    yield _part("Muon", lambda **fields: {"optimizer": ls.Muon(**fields)})
    yield _part("Shampoo", lambda **fields: {"optimizer": ls.Shampoo(**fields)}, initial=1e-4)
    yield _part("NaturalGradient", lambda **fields: {"optimizer": ls.NaturalGradient(**fields)}, damping=0.01)
    yield _part("Layers", lambda **fields: {"moves": ls.Layers(**fields)}, layers=(1,))
    ones = (np.ones((3, 3)), np.zeros((3, 3)))
    yield _part("Masked", lambda **fields: {"moves": ls.Masked(**fields)}, masks=ones)
    low: dict[str, Any] = {"rank": 1, "scale": 1.0, "layers": (1,), "orthonormal": False, "most": 2}
    yield _part("LowRank", lambda **fields: {"moves": ls.LowRank(**fields)}, **low)
    yield _call("Problem", **FIELDS)


def _part(name: str, made: Callable[..., dict[str, Any]], /, **fields: Any) -> Call:
    """A part of a phase, within it."""
    return _call(name, lambda **given: _problem(learning_rate=0.1, **made(**given)), **fields)


def _term(weights: Any, *_: Any) -> Any:
    return jnp.sum(weights[0] ** 2)


def _closed_forms() -> Iterator[Call]:
    flow: dict[str, Any] = {"start": START, "drive": SIGMA, "stiffness": 1.0, "time": 0.5}
    yield _call("mode_flow", **flow, balance=0.0)
    yield _call("deep_mode_flow", slow=True, **flow, depth=3)
    yield _call("rise_time", strength=SIGMA, start=START)
    matrices: dict[str, Any] = {"weights": WEIGHTS, "target": np.eye(3), "times": [0.0, 0.5], "weight_decay": 0.0}
    yield _call("matrix_flow", **matrices, input_covariance=np.eye(3))
    yield _call("flow_rounding", slow=True, **matrices, input_covariance=np.eye(3))
    two: dict[str, Any] = {"pretrain": SIGMA, "finetune": 3 * SIGMA, "penalty": 0.1}
    yield _call("critical_time", **two)
    yield _call("misaligned", **two)
    yield _call("stage_losses", **two)
    later: dict[str, Any] = {"checkpoint": START, "finetune": SIGMA, "penalty": 0.1}
    yield _call("tuned", **later, time=0.5)
    yield _call("tuned_limit", **later)
    yield _call("muon_flow", start=START, target=SIGMA, time=0.5)
    yield _call("muon_times", strength=SIGMA)
    yield _call("noise_price", scale=0.1, d_in=3, d_out=3)
    noise: dict[str, Any] = {"price": 0.1, "first": 0.1, "last": 10.0, "collective": 0.0}
    yield _call("noise_inflection", strengths=SIGMA, starts=START, **noise)
    curve: dict[str, Any] = {
        "budgets": BUDGETS,
        "loss": LOSSES,
        "unknown": None,
        "scale": 4.0,
        "floor": 0.0,
        "criteria": None,
    }
    yield _call("locate", **curve)
    yield _call("doubtful", **curve)
    criteria: dict[str, Any] = {"tolerance": 0.02, "least_harm": 0.01, "least_excess": 0.001}
    yield _call("Criteria", lambda **given: ls.locate(BUDGETS, LOSSES, criteria=ls.Criteria(**given)), **criteria)
    yield _call("Turn", lambda **given: ls.locate(**given), **curve)
    yield _call("over_seeds", values=LOSSES, statistic=np.median, level=0.9)
    yield _call("OverSeeds", ls.over_seeds, values=LOSSES)


def _computed() -> Iterator[Call]:
    measure: dict[str, Any] = {
        "name": "size",
        "of": _size,
        "dims": (),
        "long_name": "size",
        "units": "1",
        "at": "tuned",
        "coords": {},
    }
    yield _call("Measure", **measure, up_to_rotation=False)
    yield _call("Measure.taken", ls.Measure("size", of=_size).taken, at="tuned", name="other")
    yield _call("built_in", text="hessian_trace", transfer=TRANSFER)
    yield _call("bound_ratio", transfer=TRANSFER)
    yield _call("feature_overlap", features=np.eye(3)[:, :2])
    yield _call("feature_dimensionality", features=np.eye(3)[:, :2])
    yield _call("rise_under_noise", scales=[0.1], relative=False)
    yield _call("rise_under_rounding", bits=[4])
    yield _call("choose", problem=PROBLEM, name="auto")
    how: dict[str, Any] = {"finetune_points": None, "solver": "modes", "precision": "float64", "tolerance": None}
    how |= {"least_harm": 0.01, "least_excess": 0.001, "rechecked": 0, "progress": False, "report": None}
    chart: dict[str, Any] = {"problem": PROBLEM, "learning_rates": np.array([0.01]), "strengths": np.array([0.5])}
    regularizer: dict[str, Any] = {"regularizer": "product_penalty"}
    yield _call("chart", slow=True, **chart, **regularizer, measures=(), **how, predicted=False)
    yield _call("sweep", slow=True, problem=PROBLEM, axes={"learning_rate": [0.01]}, measures=(), **how)
    yield _call("predict", slow=True, **chart, **regularizer, criteria=None)
    training: dict[str, Any] = {
        "weights": WEIGHTS,
        "task": TASK,
        "phase": PHASE,
        "steps": 3,
        "heads": None,
        "measures": (),
    }
    training |= {"points": [0, 3], "solver": "dense", "precision": "float64", "seed": 0, "progress": False}
    yield _call("train", slow=True, **training, report=None)
    session: dict[str, Any] = {"problem": PROBLEM, "solver": ls.choose(PROBLEM).solver, "dtype": np.float64}
    yield _call("Session", _opened, **session)
    yield _call("along", axes={"depth": [2, 3]}, prepare=_prepare, report=None, progress=False)
    yield _call("running", lambda **given: ls.running(**given).__enter__(), memory=2**24, keep=None, recheck=0)
    yield _call("load", folder="results")
    yield _call("plot", result="results")


def _opened(**session: Any) -> Any:
    with computing_in("float64"):
        return ls.Session.open(**session)


def _size(seen: Any) -> Any:
    return jnp.sum(seen.product**2)


def _prepare(depth: Any) -> Any:
    import xarray as xr

    values = xr.Dataset({"size": ("seed", [float(depth)])}, coords={"seed": [0]})
    return lambda report=None: values


def _loss(params: Any, batch: Any) -> Any:
    inputs, targets = batch
    return jnp.mean((inputs @ params - targets) ** 2)


def _outputs(params: Any, inputs: Any) -> Any:
    return inputs @ params


def _monitors() -> Iterator[Call]:
    batch, params, key = (np.ones((2, 2)), np.zeros((2, 1))), np.ones((2, 1)), jax.random.key(0)
    yield _call("Alarm", window=3, growth=1.0, confidence=0.95, consecutive=1)
    series: dict[str, Any] = {"budgets": [1, 2, 4], "values": [1.0, 2.0, 4.0], "errors": [0.1, 0.1, 0.1]}
    yield _call("Alarm.watch", ls.Alarm(window=3).watch, **series)
    how: dict[str, Any] = {"measures": ["gradient_square"], "probes": 2, "noise": 0.1, "relative": True, "lanczos": 2}
    monitor = ls.Monitor(_loss, ["gradient_square"], probes=2)
    some: dict[str, Any] = {"tolerance": 0.1, "params": "w", "by_layer": True, "stacked": "", "finetune": [batch]}
    yield _call("Monitor", loss=_loss, **how, **some)
    yield _call("Monitor.measure", monitor.measure, slow=True, model=params, batches=[batch], key=key)
    for name in ("CROSS_ENTROPY", "SQUARED_ERROR"):
        yield _call(name, partial(ls.Predictive, _outputs), likelihood=getattr(ls, name))
    yield _call("Predictive", outputs=_outputs, likelihood=ls.SQUARED_ERROR)
    reading = {"loss": Estimate(np.float64(1.0), np.float64(0.1))}
    yield _call("Record", lambda **given: ls.Record(**given).to_dataset(), budgets=[1], readings=[reading])
    yield _call("Record.add", lambda **given: ls.Record().add(**given), budget=1, reading=reading)
    yield _call("Record.series", ls.Record([1], [reading]).series, measure="loss")
    listening: dict[str, Any] = {"measure": "loss", "alarm": ls.Alarm()}
    yield _call("Record.watch", ls.Record([1, 2], [reading, reading]).watch, **listening)
    watch: dict[str, Any] = {
        "monitor": monitor,
        "batches": [batch],
        "key": key,
        "measure": "gradient_square",
        "alarm": ls.Alarm(),
    }
    yield _call("Watch", **watch, record=ls.Record())
    yield _call("Watch.__call__", lambda **given: ls.Watch(**watch)(**given), slow=True, budget=1, model=params)


def _forecasts() -> Iterator[Call]:
    steps, losses = [1.0, 2.0, 4.0], [3.0, 2.0, 1.0]
    yield _call("forecast", table={"budget": steps, "base_loss": losses}, names={"budget": "budget"})
    yield _call("loss_ratio", learned=START, pretrain=SIGMA, finetune=3 * SIGMA, variances=1.0)
    yield _call("mode_slope", factor=3.0, begun=0.0, reached=0.9)
    yield _call("Stopping", chance=0.5, horizon=2)
    known: dict[str, Any] = {"budgets": steps, "losses": {"base_loss": losses}}
    yield _call("Stopping.foreseen", ls.Stopping().foreseen, **known)
    yield _call("Stopping.stops", ls.Stopping().stops, **known)


def _claims() -> Iterator[Call]:
    yield _call("equals", measured=1.0, stated=1.0, tolerance=0.1, scale=1.0)
    yield _call("every", lambda first, second: ls.every(first, second), first=0.1, second=0.2)
    yield _call("exceeds", larger=2.0, smaller=1.0, rounding=0.0, scale=1.0)
    yield _call("same_side", first=1.0, second=2.0, rounding=0.0)
    domain = st.fixed_dictionaries({"x": st.floats(0.5, 1.0)})
    wrong: dict[str, Any] = {"name": "wrong", "changes": {"sign": -1}, "domain": None}
    yield _call("Variant", **wrong)
    outside: dict[str, Any] = {"assumption": "x is positive", "domain": domain, "example": {"x": -1.0}}
    yield _call("Outside", **outside)
    texts: dict[str, Any] = {"id": "a-claim", "statement": "x is positive", "source": "re-derived", "equation": "1.1"}
    claim: dict[str, Any] = {
        "domain": domain,
        "check": _check,
        "variants": [ls.Variant(**wrong)],
        "beyond": None,
        "lemma": False,
    }
    yield _call("Claim", **texts, **claim)
    judged: dict[str, Any] = {"claim": ls.Claim(**texts, **claim), "examples": 1, "seed": 0, "shrink": False}
    yield _call("judge", slow=True, **judged, progress=False, report=None)
    yield _call("InvalidInput", field="x", value=1, allowed="2")
    yield _call("RunFailed", partial(_raised), reason="the disk is full")


def _check(problem: Any, sign: int = 1) -> float:
    return sign * float(problem["x"])


def _raised(reason: str) -> ls.RunFailed:
    return ls.RunFailed(reason)
