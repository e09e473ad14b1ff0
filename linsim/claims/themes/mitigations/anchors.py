"""Claims about anchors of fine-tuning: rehearsal as a penalty on the product, elastic weights between two penalties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import flowed, product, random_start, random_task, rotation, two_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.mitigations.anchors import elastic_limits, replay_penalty

_DRAWN = 20_000
"""Hidden bases at random, whose spread is then known to a percent."""


def check_replay(problem: PlainProblem, rule: str = "odds") -> float:
    """Flow with a share of the pre-training task, in random bases, against the flow with a penalty on the product."""
    share, seed, modes = problem["share"], problem["seed"], len(problem["strengths"])
    widths = (modes + 1, modes + 1, modes + 1)
    learned = random_start(problem["strengths"], 0.0, seed, widths)
    before, after = product(learned), random_task(problem["finetune"], seed + 7, widths)
    begun = [problem["part"] * layer for layer in learned]
    # (1 - r) ||P - A_ft||^2 + r ||P - A||^2 is ||P - (1 - r) A_ft - r A||^2, up to a constant.
    rehearsed = product(flowed(begun, (1 - share) * after + share * before, problem["time"]))
    penalty = {"odds": float(replay_penalty(share)), "share": share, "double": 2 * share / (1 - share)}[rule]
    # With a penalty: 1 + lambda times the pull to (A_ft + lambda P_0)/(1 + lambda), in the flow time (1 - r) T.
    anchored = (after + penalty * product(begun)) / (1 + penalty)
    told = product(flowed(begun, anchored, (1 + penalty) * (1 - share) * problem["time"]))
    return equals(told, rehearsed, tolerance=1e-6)


def check_elastic_own(problem: PlainProblem, weight: float = 4.0) -> float:
    """The penalty of layers in own units, written out over their weights, against that on the product."""
    strengths, seed, change = np.asarray(problem["strengths"]), problem["seed"], np.asarray(problem["changes"])
    modes, strength = len(strengths), problem["weight"]
    left, right = rotation(seed, modes), rotation(seed + 1, modes)
    ends = [two_layers(left, s, right, 0.0, np.eye(modes)) for s in (strengths, strengths * (1 + change))]
    penalty = strength / 2 * _elastic(*ends)
    limits = elastic_limits(strengths, strength, modes)
    scale = limits.product if weight == 4.0 else strength / weight
    moved = product(ends[1]) - product(ends[0])
    # 4 s_0/(sqrt s + sqrt s_0)^2 = 1 - change/2 + ..., of changes of 1 % at most.
    return equals(penalty, scale * float(np.sum(moved**2)), tolerance=0.006)


def check_elastic_shared(problem: PlainProblem, of: str = "sum") -> float:
    """Fisher information of layers in many hidden bases at random: its mean, and how far apart units are."""
    strengths, hidden, strength = np.asarray(problem["strengths"]), problem["hidden"], problem["weight"]
    modes, rng = len(strengths), np.random.default_rng(problem["seed"])
    # Columns of random bases; the modes see the first entries of each.
    columns = rng.normal(size=(_DRAWN, hidden))
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    drawn = columns[:, :modes] ** 2 @ strengths
    limits = elastic_limits(strengths, strength, hidden)
    stated = limits.weight if of == "sum" else strength * float(np.max(strengths)) * modes / hidden
    units = strength * np.sum((rotation(problem["seed"], hidden)[:, :modes] * np.sqrt(strengths)) ** 2, axis=1)
    spread = limits.spread if of != "width" else np.sqrt(2 / hidden)
    # On a sphere one coordinate has the density (1 - x^2)^((h - 3)/2), and the others share the rest.
    nodes, weights = np.polynomial.legendre.leggauss(400)
    weights = weights * (1 - nodes**2) ** ((hidden - 3) / 2)
    square, fourth = (float(weights @ nodes**power / weights.sum()) for power in (2, 4))
    both = (square - fourth) / (hidden - 1)
    second = fourth * np.sum(strengths**2) + both * (np.sum(strengths) ** 2 - np.sum(strengths**2))
    exact = np.sqrt(second) / (square * np.sum(strengths))
    return every(
        equals(float(np.mean(units)), stated, 1e-9),
        equals(np.sqrt(1 + spread**2), float(exact), 1e-5),
        # Of 20,000 draws some percent of the spread, whose tails are long.
        equals(float(np.std(drawn) / np.mean(drawn)), float(spread), 0.1),
    )


def _elastic(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """sum_k F_k (w_k - w_k0)^2 with F, the mean square of the derivative of every output, over unit inputs."""
    (first, second), (inner, outer) = before, after
    into, out = np.sum(second**2, axis=0), np.sum(first**2, axis=1)
    return float(np.sum(into[:, None] * (inner - first) ** 2) + np.sum(out * (outer - second) ** 2))


def _replays(part: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda count: {
            "strengths": values(numbers(0.5, 2), count),
            "finetune": values(numbers(0.5, 3), count),
            "share": numbers(0.1, 0.8),
            "time": numbers(0.05, 1),
            "part": part,
            "seed": seeds(),
        },
        (1, 2, 3),
    )


def _own(change: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda count: {
            "strengths": values(numbers(0.2, 3), count),
            "changes": values(change, count),
            "weight": decades(0.1, 10),
            "seed": seeds(),
        },
        (1, 2, 4),
    )


def _shared() -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda count: {
            "strengths": st.tuples(numbers(2, 3), *[numbers(0.2, 1)] * (count - 1)),
            "hidden": st.sampled_from((8, 32, 128)),
            "weight": decades(0.1, 10),
            "seed": seeds(),
        },
        (2, 4, 8),
    )


_SMALL = st.one_of(numbers(0.001, 0.01), numbers(-0.01, -0.001))

CLAIMS = (
    Claim(
        id="replay-penalty",
        statement="Fine-tuning with a share r of the pre-training task, inputs of both whitened, goes the way of a "
        "penalty lambda = r / (1 - r) on the product in the flow time (1 - r) T, from a checkpoint "
        "that has learned its task",
        source="re-derived",
        equation="7.5",
        domain=_replays(st.just(1.0)),
        check=check_replay,
        variants=(
            Variant(name="the-share-itself", changes={"rule": "share"}),
            Variant(name="twice-the-penalty", changes={"rule": "double"}),
        ),
        beyond=Outside(
            assumption="the checkpoint has learned its task",
            domain=_replays(numbers(0.3, 0.7)),
            example={
                **{"strengths": (1.0, 0.5), "finetune": (2.0, 1.0), "share": 0.5},
                **{"time": 0.5, "part": 0.5, "seed": 0},
            },
        ),
    ),
    Claim(
        id="elastic-own-units",
        statement="EWC with the exact diagonal of the Fisher matrix, weight c: of balanced layers with a hidden unit "
        "of its own for each mode it is, for changes of strengths by a percent, the penalty c / 4 on the product",
        source="re-derived",
        equation="7.7",
        domain=_own(_SMALL),
        check=check_elastic_own,
        variants=(
            Variant(name="half-the-weight", changes={"weight": 2.0}),
            Variant(name="the-whole-weight", changes={"weight": 1.0}),
        ),
        beyond=Outside(
            assumption="changes are small",
            domain=_own(st.just(-0.99)),
            example={"strengths": (1.0,), "changes": (-0.99,), "weight": 1.0, "seed": 0},
        ),
    ),
    Claim(
        id="elastic-shared-units",
        statement="In hidden bases at random EWC is the penalty c N / h on weights on average, N = sum s; the Fisher "
        "information of hidden units is apart by sqrt(2 (h sum s^2 / N^2 - 1) / (h + 2)), which no width makes small",
        source="re-derived",
        equation="7.7",
        domain=_shared(),
        check=check_elastic_shared,
        variants=(
            Variant(name="of-equal-modes", changes={"of": "largest"}),
            Variant(name="alike-in-wide-layers", changes={"of": "width"}),
        ),
    ),
)
