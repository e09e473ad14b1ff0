"""Claims about redundant inputs: what training on them conserves, and which early exposure leaves no trace."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals
from linsim.claims.themes.simulation import flowed, product, rotation
from linsim.testing.draws import numbers, seeds, sized, values
from linsim.theory.mitigations.exposure import mixed_solution, redundant_end


def check_conserved(problem: PlainProblem, more: int = 0) -> float:
    """Flow layers on inputs along one direction: where they are, told from how far p . v has come."""
    along, depth = np.asarray(problem["direction"]), problem["depth"]
    layers = _layers(np.asarray(problem["start"]), depth, problem["seed"], problem["unbalanced"])
    begun = product(layers)[0]
    target = (along * problem["level"] / (along @ along))[None]
    reached = product(flowed(layers, target, problem["time"], np.outer(along, along)))[0]
    told = redundant_end(begun, along, float(reached @ along), depth + more)
    return equals(told, reached, 1e-6, scale=float(np.linalg.norm(begun) + np.linalg.norm(reached)))


def check_one_layer(problem: PlainProblem, depth: int = 1) -> float:
    """Solve the mixture, flow on the target until it is learned, and look for the share in what is left."""
    base, along = np.asarray(problem["base"]), np.asarray(problem["direction"])
    spread, level = np.asarray(problem["variances"]), problem["level"]
    told = redundant_end(base, along, level, 1)
    errors = []
    for share in problem["shares"]:
        inverse = np.diag((1 - share) * spread) + share * np.outer(along, along)
        mixed = np.linalg.solve(inverse, (1 - share) * spread * base + share * level * along)
        if np.ptp(spread) == 0 and spread[0] == 1:
            errors.append(np.max(np.abs(mixed_solution(base, along, level, share) - mixed)))
        layers = _layers(mixed, depth, problem["seed"], 0.0)
        target = (along * level / (along @ along))[None]
        # Of one layer p . v goes to c by e^(-2 ||v||^2 t); deeper ones are given as much again and more.
        end = product(flowed(layers, target, 20.0 * depth**2 / (along @ along), np.outer(along, along)))[0]
        errors.append(np.max(np.abs(end - told)))
    return equals(np.asarray(errors), 0.0, 1e-6, scale=float(np.linalg.norm(base) + abs(level)))


def _layers(weights: np.ndarray, depth: int, seed: int, unbalanced: float) -> list[np.ndarray]:
    """Layers of three hidden units with this product, of equal singular values; the first has a share more."""
    size, hidden = float(np.linalg.norm(weights)), 3
    each = size ** (1 / depth)
    units = [rotation(seed + at, hidden)[:, 0] for at in range(depth - 1)]
    row = weights / size
    sides = [row, *units]
    ends = [*units, np.ones(1)]
    layers = [each * np.outer(end, side) for side, end in zip(sides, ends, strict=True)]
    if depth > 1:
        layers[0], layers[-1] = layers[0] * (1 + unbalanced), layers[-1] / (1 + unbalanced)
    return layers


def _redundant(unbalanced: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda inputs: {
            "start": st.tuples(numbers(0.2, 1.5), *[numbers(-1.5, 1.5)] * (inputs - 1)),
            "direction": st.tuples(numbers(-1.5, 1.5), numbers(0.3, 1.5), *[numbers(-1.5, 1.5)] * (inputs - 2)),
            "level": numbers(-2, 2),
            "depth": st.sampled_from((1, 2, 3, 4)),
            "time": numbers(0.02, 3),
            "unbalanced": unbalanced,
            "seed": seeds(),
        },
        (2, 3, 5),
    )


def _exposed(variances: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda inputs: {
            "base": st.tuples(numbers(0.3, 1.5), *[numbers(-0.2, 0.2)] * (inputs - 1)),
            "direction": st.tuples(*[numbers(0.5, 1.5)] * inputs),
            "level": numbers(1, 2),
            "variances": values(variances, inputs),
            "shares": st.tuples(numbers(0, 0.3), numbers(0.5, 0.95)),
            "seed": seeds(),
        },
        (2, 3),
    )


_DEEP: PlainProblem = {
    **{"base": (0.8, 0.0), "direction": (1.0, 1.0), "level": 1.0, "variances": (1.0, 1.0)},
    **{"shares": (0.0, 0.75), "seed": 0},
}
_FAR: PlainProblem = {
    **{"start": (0.5, 0.0), "direction": (1.0, 1.0), "level": 1.0, "depth": 2, "time": 2.0},
    **{"unbalanced": 0.0, "seed": 0},
}

CLAIMS = (
    Claim(
        id="redundant-inputs",
        statement="One output, L balanced layers, inputs x = z v along one direction: training on any target conserves "
        "rho |sin phi|^L, rho = ||p||, phi the angle between p and v, and the direction of p across v",
        source="re-derived",
        equation="7.9",
        domain=_redundant(st.just(0.0)),
        check=check_conserved,
        variants=(
            Variant(name="one-layer-more", changes={"more": 1}, domain=st.just(_FAR)),
            Variant(name="as-of-four-layers", changes={"more": 2}, domain=st.just(_FAR)),
        ),
        beyond=Outside(
            assumption="layers are balanced",
            domain=_redundant(numbers(0.5, 2)),
            example={**_FAR, "unbalanced": 1.0},
        ),
    ),
    Claim(
        id="exposure-one-layer",
        statement="Base inputs whitened, target inputs x = z v: pre-training with a share a < 1 of the target data "
        "ends at p_b + v a (c - p_b . v) / (1 - a + a ||v||^2), and one layer trained on the target afterwards at "
        "p_b + v (c - p_b . v) / ||v||^2, whatever the share was",
        source="re-derived",
        equation="7.10",
        domain=_exposed(st.just(1.0)),
        check=check_one_layer,
        variants=(Variant(name="two-layers", changes={"depth": 2}, domain=st.just(_DEEP)),),
        beyond=Outside(
            assumption="the base inputs are whitened",
            domain=_exposed(numbers(0.2, 3)),
            example={**_DEEP, "variances": (2.0, 0.5)},
        ),
    ),
)
