"""Which mitigation of overtraining is nearest to what is possible at all?

    python -m experiments.mitigations --out DIR

pre-trains on minibatches with noisy labels, at a rate that decays at the end, fine-tunes by descent, and changes one
thing at a time: each method is one value of what the engine offers, in pre-training or in fine-tuning. Two rulers stand
side by side. By the fixed recipe all have one rate and one strength, and what counts is the pre-training loss after. At
matched fine-tuning loss, phi D^2 with D^2 that of the pre-training task's solution, every method has the rate and the
strength that are best for it, and what counts is its pre-training loss over the least that any network can have there.
--own MODULE:NAME gives a method of your own its row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import jax
import numpy as np
import xarray as xr

from linsim.commands.named import call_named, named
from linsim.errors import InvalidInput, require, require_axis, require_integer, require_kind, require_number
from linsim.labels import PLAIN, RATE, Label, label, texts
from linsim.network import gaussian
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.progress.showing import Progress

from ..experiment import Experiment
from .changes import stable_decay
from .families import FAMILIES, Family, drawn, pretrained_on
from .finding import find, table
from .method import OWN, Method
from .methods import ALONE, METHODS
from .rulers import ruled
from .running import Place, checkpoints
from .running import losses as run_losses

T = TypeVar("T")

CLAIMS = (
    *("convex-front", "matched-loss-no-u", "replay-penalty", "interpolation-bound"),
    *("matched-excess", "nothing-helps-matched"),
)
LABELS = {
    "seed": Label("transfer, with its initial weights and minibatches"),
    "mitigation": Label("mitigation"),
    "family": Label("how the fine-tuning task differs"),
    "level": Label("phi: fine-tuning loss asked for, over D^2", PLAIN),
    "relative_rate": Label("fine-tuning rate of descent; methods have fixed multiples of it", RATE),
    OWN: Label("strength, the weakest first"),
    "side": Label("phase that a method changes"),
    "seen": Label("data that a method has at hand and descent has not"),
    "rate": Label("fine-tuning rates over those of descent", PLAIN),
    "value": Label("strength of a method"),
    "pretrain_loss_after": Label("pre-training loss after fine-tuning, over D^2", PLAIN),
    "finetune_loss_after": Label("fine-tuning loss after fine-tuning, over D^2", PLAIN),
    "base_loss": Label("pre-training loss before fine-tuning, over that of the zero network", PLAIN),
    "possible": Label("least pre-training loss of any network at that fine-tuning loss, over D^2", PLAIN),
    "distance": Label("D^2, fine-tuning loss of what solves the pre-training task", "squared output"),
    "ratio": Label("R: pre-training loss at matched fine-tuning loss, over the least possible", PLAIN),
    "chosen": Label("strength with the least median R"),
    "end": Label("end of the range that the chosen strength is at"),
    "fixed_pretrain_loss": Label("pre-training loss by the fixed recipe, over D^2", PLAIN),
    "fixed_finetune_loss": Label("fine-tuning loss by the fixed recipe, over D^2", PLAIN),
    "fixed_rate": Label("rate of the fixed recipe", RATE),
    "fixed_rank": Label("rank by pre-training loss at the fixed recipe"),
    "rank": Label("rank by R"),
    "hardest_level": Label("tau of Watts et al.: fine-tuning loss that all methods come down to, over D^2", PLAIN),
    "hardest_ratio": Label("pre-training loss at tau or below, over the least possible at tau", PLAIN),
    "hardest_rank": Label("rank by pre-training loss at tau or below"),
    "correlation": Label("rank correlation of the two rulers over methods", PLAIN),
}


@dataclass(frozen=True)
class Config:
    """Transfers, the standard recipe, and what is held against it."""

    dim: int = 8
    """Inputs, outputs and hidden units."""
    depth: int = 2
    """Number of layers L."""
    seeds: int = 3
    """Number of transfers of each family, each with tasks, initial weights and minibatches of its own."""
    seed: int = 0
    """Of all that is drawn."""
    families: tuple[Family, ...] = ("tail", "random")
    """tail, head: weak or strong modes are multiplied; removed: every other one is 0; amplified: all are doubled;
    rotated_inputs, rotated_both: singular vectors turn by 60 degrees; random: a target in other random bases; digits:
    five handwritten digits, then the other five (scikit-learn, extra data)."""
    factor: float = 4.0
    """On the modes of tail and head."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods of the table; rate and steps alone is always among them and comes first."""
    own: tuple[str, ...] = ()
    """Further methods, MODULE:NAME of values of experiments.mitigations.method.Method."""
    withheld: tuple[Literal["fine-tuning data", "pre-training data"], ...] = ()
    """Data that are not at hand in the other phase; methods that need them are refused."""
    levels: tuple[float, ...] = (0.1, 0.5)
    """phi, increasing: fine-tuning losses at which methods are compared, over D^2."""
    recipe_level: float = 0.1
    """The fixed rate is that by which descent comes nearest to this phi."""
    label_noise: float = 1.0
    """Standard deviation of the noise on each output in pre-training."""
    batch_size: int = 8
    """Samples per step of pre-training."""
    initial_scale: float = 0.03
    """Standard deviation of the initial weights of two layers, times the square root of their inputs; other numbers of
    layers begin with products alike in size."""
    learning_rate: float = 0.02
    """Of pre-training, in flow time per step; it decays linearly to 0 in the last fifth of the steps."""
    steps: int = 1500
    """Of pre-training."""
    finetune_steps: int = 100
    """Of fine-tuning, on exact gradients."""
    rates: int = 18
    """Number of fine-tuning rates, spaced evenly in the logarithm."""
    lowest_rate: float = 2e-4
    """Smallest of them, in flow time per step."""
    highest_rate: float = 0.1
    """Largest of them."""
    curves: bool = True
    """Keep losses over all strengths and rates; without them a result is small."""


def compute(config: Config, report: Progress | None = None) -> xr.Dataset:
    """Losses of all methods, and what both rulers make of them; `InvalidInput` for a bad field."""
    methods = _check(config)
    places: dict[str, list[Place]] = {
        family: [_place(config, family, seed) for seed in range(config.seeds)] for family in config.families
    }
    rates = np.geomspace(config.lowest_rate, config.highest_rate, config.rates)
    shape = len(methods), len(config.families), config.seeds
    most, room = (max([1, *(len(each.strengths) for each in some)]) for some in (methods, _early(methods)))
    losses, base = np.full((2, *shape, most, config.rates), np.nan), np.full((*shape, most), np.nan)
    begun: dict[Any, tuple[np.ndarray, ...]] = {}
    for done, (at, number, seed) in enumerate(np.ndindex(shape)):
        method, family = methods[at], config.families[number]
        place = places[family][seed]
        weights = None
        if method.side == "pretrain":
            # What sees one task alone is the same for all families that share it.
            key = (at, seed, family if method.seen else pretrained_on(family))
            weights = begun[key] = begun.get(key) or _called(method, partial(checkpoints, method, place.problem))
        found = _called(method, partial(run_losses, method, place, rates, room, weights))
        count, scale = len(found["pretrain_loss_before"]), place.problem.transfer.learned_loss
        losses[0, at, number, seed, :count] = found["pretrain_loss_after"] / scale
        losses[1, at, number, seed, :count] = found["finetune_loss_after"] / scale
        zero = place.problem.transfer.pretrain.zero_loss
        base[at, number, seed, :count] = found["pretrain_loss_before"] / zero
        if report is not None:
            report(done + 1, int(np.prod(shape)))
    told = ruled(config.levels, config.recipe_level, methods, rates, places, losses, base)
    coords = {"family": texts(config.families), "seed": np.arange(config.seeds), "relative_rate": rates}
    told = told.assign(_inputs(places, config.depth))
    told = told if config.curves else told.drop_vars(["pretrain_loss_after", "finetune_loss_after", "base_loss"])
    dataset = told.assign_coords(coords).assign_attrs(recipe_level=config.recipe_level, alone=ALONE)
    return label(dataset, LABELS)


def _inputs(places: dict[str, list[Place]], depth: int) -> dict[str, Any]:
    """Both targets, NaN beyond their outputs, and the first family's standard checkpoints."""
    found: dict[str, Any] = {}
    outputs = max(place.problem.transfer.pretrain.outputs for row in places.values() for place in row)
    for name in ("pretrain", "finetune"):
        tasks = [[getattr(place.problem.transfer, name).target for place in row] for row in places.values()]
        room = [[np.pad(A, ((0, outputs - len(A)), (0, 0)), constant_values=np.nan) for A in row] for row in tasks]
        found[f"{name}_target"] = ("family", "seed", "output", "input"), np.array(room)
    row = next(iter(places.values()))
    for layer in range(1, depth + 1):
        weights = np.array([place.standard[layer - 1][0] for place in row])
        about = {"long_name": f"W_{layer} of the standard checkpoint", "units": "weight"}
        found[f"checkpoint_{layer}"] = ("seed", f"row_{layer}", f"column_{layer}"), weights, about
    return found


def _place(config: Config, family: Family, seed: int) -> Place:
    transfer = drawn(family, config.dim, config.factor, config.label_noise, (config.seed, seed))
    key, scale = jax.random.key(config.seed * 10_007 + seed), config.initial_scale ** (2 / config.depth)
    widths = (transfer.pretrain.inputs, *(config.dim,) * (config.depth - 1), transfer.pretrain.outputs)
    start = gaussian(widths, scale, key)
    schedule = stable_decay(config.steps)
    pretrain = Phase(config.learning_rate, schedule=schedule, batch_size=config.batch_size)
    finetune = Phase(config.lowest_rate)
    batches = int(np.random.SeedSequence([config.seed, seed]).generate_state(1)[0])
    budgets, starts = np.array([config.steps]), stack_seeds([start])
    return Place(Problem(transfer, starts, pretrain, finetune, budgets, config.finetune_steps, seed=batches))


def _early(methods: list[Method]) -> list[Method]:
    return [method for method in methods if method.side == "pretrain"]


def _called(method: Method, call: Callable[[], T]) -> T:
    """What a method comes to; errors in what it asks for name it, where it is one's own."""
    try:
        return call_named("own", method.name, call)
    except InvalidInput as error:
        if error.field == "own" or METHODS.get(method.name) is method:
            raise
        raise InvalidInput(f"own {method.name}: {error.field}", error.value, error.allowed) from error


def _check(config: Config) -> list[Method]:
    for name, most in (("dim", 10**3), ("depth", 64), ("seeds", 10**4), ("steps", 10**9), ("batch_size", 10**6)):
        require_integer(name, getattr(config, name), at_least=2 if name == "dim" else 1, at_most=most)
    require_integer("seed", config.seed, at_least=0, at_most=10**5)
    require_integer("finetune_steps", config.finetune_steps, at_least=1, at_most=10**9)
    require_integer("rates", config.rates, at_least=4, at_most=10**4)
    for name in ("factor", "initial_scale", "learning_rate", "lowest_rate"):
        require_number(name, getattr(config, name), above=0, at_most=1e6)
    require(config.factor != 1, "factor", config.factor, "a number but 1, by which tasks differ")
    require_number("highest_rate", config.highest_rate, above=config.lowest_rate, at_most=1e6)
    require_number("label_noise", config.label_noise, at_least=0, at_most=1e6)
    require_axis("levels", config.levels, above=0)
    for level in (*config.levels, config.recipe_level):
        require_number("levels" if level in config.levels else "recipe_level", level, above=0, below=1)
    for name, known in (("families", FAMILIES), ("methods", tuple(METHODS))):
        given = getattr(config, name)
        distinct = isinstance(given, tuple) and len(given) == len(set(given)) and set(given) <= set(known)
        needed = name == "methods" or bool(given)
        require(distinct and needed, name, given, f"some of {', '.join(known)}, each once")
    methods = [METHODS[ALONE], *(METHODS[name] for name in config.methods if name != ALONE)]
    for text in config.own:
        method = require_kind("own", named("own", text), Method, f"a Method of experiments.mitigations, in {text}")
        method.validate(f"own {text}")
        methods.append(method)
    names = [method.name for method in methods]
    require(len(set(names)) == len(names), "own", names[-len(config.own) :], "methods of names that no other has")
    for method in methods:
        at_hand = method.seen not in config.withheld
        require(at_hand, "methods", method.name, f"methods that do without {method.seen}, which is withheld")
    return methods


experiment = Experiment("mitigations", __doc__, Config, compute, find, table, CLAIMS)
run, main = experiment.run, experiment.main
