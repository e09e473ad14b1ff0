"""Claims about regularisers at equal fine-tuning loss and by weight-space strength, and about a single layer."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds, same_side
from linsim.claims.themes.finetuning.tuning import balanced_layers, stages, tasks
from linsim.claims.themes.simulation import rotation
from linsim.measures.front import Front
from linsim.tasks import LinearTask, Transfer
from linsim.testing.draws import numbers, sized, values
from linsim.theory.laziness import harm_of_parabola

_ROUNDING = 1e-9  # of losses, after some thousand steps
_STEPS = 4000
_RATIO = st.one_of(numbers(0.4, 5), numbers(-3, -0.1))
_ONE = st.just(1.0)
_SEED = st.integers(0, 10**6)


def check_front(problem: PlainProblem, bound: float = 1.0, penalty: str = "product", if_turned: str = "less") -> float:
    """Descend with a penalty from a checkpoint in bases of its own, and look beside the segment; add both distances.

    `if_turned` says when the end is to be on the segment: polar factors less than 180 degrees apart, or of one sign.
    """
    strengths, size = np.asarray(problem["pretrain"]), len(problem["pretrain"])
    left, right = (rotation(problem["seed"] + n, size) if problem["turned"] else np.eye(size) for n in (0, 1))
    other = np.random.default_rng([problem["seed"], 2])
    pretrain = left @ np.diag(strengths) @ right.T
    finetune = left @ np.diag(strengths * problem["ratios"]) @ right.T
    finetune = finetune + problem["away"] * float(np.linalg.norm(pretrain)) * _direction(other, (size, size))
    apart = float(np.linalg.norm(finetune - pretrain))
    start = np.sqrt(strengths * problem["learned"])
    layers = [np.diag(start) @ right.T, left @ np.diag(start)]
    end = _descend(layers, finetune, problem["strength"], penalty)
    beside = pretrain + other.uniform() * (finetune - pretrain) + 0.1 * apart * _direction(other, (size, size))
    beside_both, end_both = (_distances(product, pretrain, finetune) for product in (beside, end))
    least = exceeds(beside_both, bound * apart, rounding=1e-12)
    squares = (np.sum((beside - task) ** 2) for task in (pretrain, finetune))
    front = _front_of(pretrain, finetune)
    ratio = equals(front.ratio(*map(jnp.asarray, squares)), beside_both / apart, tolerance=1e-9)
    weight = problem["strength"]  # min over P of L_pre + mu L_ft, on the segment
    ratio = every(ratio, equals(front.least(weight), weight / (1 + weight) * apart**2, tolerance=1e-9))
    limit = finetune + problem["strength"] * pretrain
    if if_turned == "signs":
        reaches = np.linalg.det(limit) * np.linalg.det(pretrain) > 0
    else:
        reaches = _within_reach(pretrain, limit)
    return every(least, ratio, equals(end_both, apart, tolerance=1e-6)) if reaches else every(least, ratio)


def check_weight_space(problem: PlainProblem, factor: float = 1.0, ratio: bool = False) -> float:
    """Descend from every stage with a regulariser of the weights, and see whether the loss rises, as they state."""
    pretrain, finetune = tasks(problem)
    decays = problem["decay"]
    excess = finetune / pretrain - 2 if ratio else finetune - 2 * pretrain
    stated = factor * (2 if decays else 4 + 2 * np.sqrt(2)) * float(np.max(excess))
    checkpoints = stages(pretrain)
    if problem["part"] < 1:  # every mode is also seen when it is learned in part
        modes = len(pretrain)
        halfway = np.where(np.eye(modes + 1, modes, dtype=bool), problem["part"] * pretrain, checkpoints)[:-1]
        checkpoints = np.insert(checkpoints, range(1, modes + 1), halfway, axis=0)
    layers = balanced_layers(checkpoints)
    start, strength = layers.copy(), problem["strength"]
    eta = 0.9 / (4 * max(float(np.max(np.maximum(pretrain, finetune))), 0.5) + strength)
    for _ in range(_STEPS):
        pull = 2 * (finetune - layers[0] * layers[1]) * layers[::-1]
        layers = layers + eta * (pull - strength * (layers if decays else layers - start))
    losses = np.sum((layers[0] * layers[1] - pretrain) ** 2, axis=-1)
    return same_side(float(np.max(np.diff(losses))) / float(losses[0]), stated - strength, rounding=_ROUNDING)


def check_one_layer(problem: PlainProblem, times: float = 1.0, square: bool = True) -> float:
    """Pre-train one layer by descent, fine-tune every checkpoint, and compare harm with what the angle says."""
    rng, sides = np.random.default_rng(problem["seed"]), problem["sides"]
    pretrain, change = (_direction(rng, sides) for _ in range(2))
    start = problem["start"] * _direction(rng, sides)
    toward = float(np.sum(change * (pretrain - start)))
    change, finetune_steps = problem["size"] * np.sign(toward) * problem["side"] * change, problem["steps"]
    layer, path, eta, variances = start, [], 0.01, np.resize(problem["inputs"], sides[1])
    for _ in range(1500):
        path.append(layer)
        layer = layer - 2 * eta * variances * (layer - pretrain)
    after = np.array(path)
    for _ in range(finetune_steps):
        after = after - 2 * eta * variances * (after - pretrain - change)
    losses = np.sum(variances * (after - pretrain) ** 2, axis=(1, 2))
    cosine = np.sum(change * (pretrain - start)) / np.linalg.norm(change) / np.linalg.norm(pretrain - start)
    kept = (1 - 2 * eta) ** finetune_steps
    inside = (1 - kept) * np.linalg.norm(change) * cosine <= kept * np.linalg.norm(pretrain - start)
    harm = float(losses[-1]) / _least(losses, (1 - 2 * eta) ** np.arange(len(losses))) - 1
    stated = times * (1 / (1 - cosine**2) - 1 if square else 1 / np.sqrt(1 - cosine**2) - 1)
    ours = harm_of_parabola(change, pretrain - start)
    told = equals(1 / (1 + ours), 1 - max(cosine, 0) ** 2, tolerance=1e-9, scale=1.0)
    if cosine <= 0:
        return every(told, equals(harm, 0.0, tolerance=1e-9, scale=1.0))
    if not inside:
        return every(told, exceeds(stated, harm))
    return every(told, equals(1 + harm, 1 + stated, tolerance=1e-3))  # 1500 budgets, a hundredth of a flow time apart


def _least(losses: np.ndarray, left: np.ndarray) -> float:
    """Between budgets too, by a parabola in what is left of the start, which losses are where inputs are whitened."""
    lowest = int(np.argmin(losses))
    if lowest in (0, len(losses) - 1):
        return float(losses[lowest])
    near = slice(lowest - 1, lowest + 2)
    # Relative to the place, as the parabola of a late budget is far narrower than 1.
    curve = np.polyfit(left[near] / left[lowest] - 1, losses[near], 2)
    return float(curve[2] - curve[1] ** 2 / (4 * curve[0]))


def _direction(rng: np.random.Generator, sides: tuple[int, int]) -> np.ndarray:
    matrix = rng.normal(size=sides)
    return np.asarray(matrix / np.linalg.norm(matrix))


def _front_of(pretrain: np.ndarray, finetune: np.ndarray) -> Front:
    tasks = []
    for target in (pretrain, finetune):
        left, strengths, right = np.linalg.svd(target)
        tasks.append(LinearTask(left, strengths, right.T, np.eye(len(strengths)), 0.0))
    return Front.of(Transfer(*tasks))


def _within_reach(start: np.ndarray, limit: np.ndarray) -> bool:
    """Whether flow from balanced layers gets to a limit, and descent in `_STEPS`.

    In Q = [W_1^T; W_2] what grows towards the limit X sigma Y^T is Y^T V + X^T U of the start U s V^T: it is singular
    where a direction is turned by 180 degrees. Near to that, and for small modes, descent takes long.
    """
    (before, _, right), (after, sizes, towards) = np.linalg.svd(start), np.linalg.svd(limit)
    growing = np.linalg.svd(before @ right + after @ towards, compute_uv=False)
    return bool(growing.min() > 0.05 and sizes.min() > 0.03 * sizes.max())


def _distances(product: np.ndarray, pretrain: np.ndarray, finetune: np.ndarray) -> float:
    return float(np.linalg.norm(product - pretrain) + np.linalg.norm(product - finetune))


def _descend(layers: list[np.ndarray], target: np.ndarray, strength: float, penalty: str) -> np.ndarray:
    """Descent with lambda ||P - P_0||^2, or with (mu/2) sum ||W - W_0||^2, to convergence."""
    start, product = list(layers), layers[1] @ layers[0]
    largest = max(np.linalg.norm(target, 2), np.linalg.norm(product, 2))
    by_product, by_weight = (strength, 0.0) if penalty == "product" else (0.0, strength)
    eta = 0.5 / (4 * (1 + by_product) * 1.5 * float(largest) + by_weight)
    first, second = layers
    for _ in range(_STEPS):
        pull = target - second @ first + by_product * (product - second @ first)
        first, second = (
            first + eta * (2 * second.T @ pull - by_weight * (first - start[0])),
            second + eta * (2 * pull @ first.T - by_weight * (second - start[1])),
        )
    return second @ first


def _front(learned: st.SearchStrategy[float], near: bool = False) -> st.SearchStrategy[PlainProblem]:
    """Any two tasks, or such that the second is near enough to the first for its checkpoint to be turned little."""
    ratio = st.just(1.0) if near else st.one_of(numbers(0.2, 4), numbers(-3, -0.2))
    return sized(
        lambda modes: {
            "pretrain": values(numbers(1, 2), modes),
            "ratios": values(ratio, modes),
            "away": numbers(0.2, 0.5),
            "learned": learned,
            "strength": numbers(0.5, 4),
            "turned": st.just(True),
            "seed": _SEED,
        },
        (3,) if near else (2, 3, 8),
    )


def _weights(
    part: st.SearchStrategy[float], decay: st.SearchStrategy[bool], modes: tuple[int, ...] = (1, 2, 3, 8)
) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "pretrain": values(numbers(0.5, 2), modes),
            "ratios": values(_RATIO, modes),
            "strength": numbers(0.5, 8),
            "decay": decay,
            "part": part,
        },
        modes,
    )


def _one_layer(inputs: st.SearchStrategy[tuple[float, ...]]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "seed": _SEED,
            "start": numbers(0, 0.5),
            "size": numbers(0.5, 3),
            "side": st.sampled_from([1.0, 1.0, -1.0]),
            "steps": st.integers(2, 40),
            "sides": st.sampled_from(((1, 2), (3, 3), (2, 8), (8, 5))),
            "inputs": inputs,
        }
    )


_OPPOSED: PlainProblem = {
    "pretrain": (1.0, 1.0, 1.0),
    "ratios": (-2.0, -3.0, 1.0),  # balanced layers stop at 0 in the first two modes
    "away": 0.0,
    "learned": 1.0,
    "strength": 1.0,
    "turned": False,  # rounding in any other bases would lead away from there, late
    "seed": 0,
}

CLAIMS = (
    Claim(
        id="convex-front",
        statement="sqrt L_pre + sqrt L_ft >= ||A_ft - A_pre|| for every network, with equality after fine-tuning to "
        "convergence with the product-space penalty from a checkpoint learned in full, in any bases, if the polar "
        "factors of A_pre and A_ft + lambda A_pre turn no direction by 180 degrees",
        source="re-derived",
        equation="3.8",
        domain=_front(st.just(1.0)),
        check=check_front,
        variants=(
            Variant(name="bound-too-high", changes={"bound": 1.5}),
            Variant(
                name="penalty-in-weight-space", changes={"penalty": "weight"}, domain=_front(st.just(1.0), near=True)
            ),
            Variant(name="if-determinants-agree", changes={"if_turned": "signs"}, domain=st.just(_OPPOSED)),
        ),
        beyond=Outside(
            assumption="the checkpoint is learned in full",
            domain=_front(numbers(0.3, 0.9), near=True),
            example=_OPPOSED
            | {"turned": True, "pretrain": (2.0, 1.5, 1.0), "ratios": (1.0, 1.0, 1.0), "away": 0.5, "learned": 0.5},
        ),
    ),
    Claim(
        id="weight-space-removes",
        statement="Two aligned balanced layers: over idealised stages the loss after fine-tuning to convergence rises "
        "somewhere iff beta < 2 max(sigma_ft - 2 sigma_pre), with weight decay, or iff mu < (4 + 2 sqrt 2) times that "
        "maximum, with a penalty towards the checkpoint's weights: strengths in units of the task, unlike lambda",
        source="re-derived",
        equation="3.4",
        domain=_weights(_ONE, st.booleans()),
        check=check_weight_space,
        lemma=True,
        variants=(
            Variant(name="by-the-ratio-as-lambda", changes={"ratio": True}, domain=_weights(_ONE, st.booleans(), (1,))),
            Variant(name="half-the-threshold", changes={"factor": 0.5}),
        ),
        beyond=Outside(
            assumption="checkpoints are idealised stages, with no mode learned in part",
            domain=_weights(numbers(0.05, 0.95), st.just(False)),
            example={
                "pretrain": (1.0, 1.0, 1.0),
                "ratios": (2.0, 1.0, 1.0),
                "strength": 3.0,
                "decay": False,
                "part": 0.7,
            },
        ),
    ),
    Claim(
        id="one-layer-harm",
        statement="One layer, whitened inputs, any tasks: harm of endless pre-training is at most cot^2 of the angle "
        "between A_ft - A_pre and A_pre - P_0, whatever the fine-tuning, equal to it if the turn is after the start; "
        "none from 90 degrees on",
        source="re-derived",
        equation="1.4",
        domain=_one_layer(st.just((1.0,))),
        check=check_one_layer,
        variants=(
            Variant(name="twice-the-harm", changes={"times": 2.0}),
            Variant(name="harm-of-the-distance", changes={"square": False}),
        ),
        beyond=Outside(
            assumption="inputs are whitened",
            domain=_one_layer(st.just((2.0, 0.5, 0.1))),
            example={
                **dict.fromkeys(("size", "side"), 1.0),
                **{"seed": 0, "start": 0.0, "steps": 20, "sides": (3, 3), "inputs": (2.0, 0.5, 0.1)},
            },
        ),
    ),
)
