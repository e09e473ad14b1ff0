"""Claims about the held-out base loss of pre-training on a sample, section 6 of the theory."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, same_side
from linsim.testing.draws import decades, numbers, seeds
from linsim.theory.data.samples import useful_singular_value

_LONGER = 300  # of the sides
_EDGES = {"signal-above-noise": lambda ratio: 1 + np.sqrt(ratio), "square": lambda ratio: 4 / np.sqrt(3)}


def check_edge(problem: PlainProblem, rule: str = "exact") -> float:
    """Decompose a drawn sample, and see for each of its first modes whether learning it costs more than it gives."""
    variance, rng = problem["variance"], np.random.default_rng(problem["draw"])
    shorter = round(_LONGER * problem["ratio"])
    signals, scale = np.append(problem["signals"], np.full(problem["others"], 1.5)), np.sqrt(_LONGER * variance)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(signals))))[0] for size in (shorter, _LONGER))
    target = (left * signals * scale * problem["ratio"] ** 0.25) @ right.T
    sample = target + np.sqrt(variance) * rng.standard_normal(target.shape)
    outer, found, inner = np.linalg.svd(sample, full_matrices=False)
    edge = float(useful_singular_value(shorter, _LONGER, variance)) / scale
    exact = edge
    if rule != "exact":
        edge = float(_EDGES[rule](shorter / _LONGER))
    margins = []
    for mode in range(len(signals) + 3):
        harm = 1 - 2 * float(outer[:, mode] @ target @ inner[mode]) / found[mode]  # of s^2 - 2 s u'Av, over s^2
        beyond = found[mode] / scale / edge - 1
        # Overlaps vary by some 1/sqrt(300) = 0.06. Harm is (3 - x^2)/(1 + x^2) where the sample has x + 1/x: 0.3 from 0
        # where that is 10 % off the edge.
        if abs(beyond) > 0.1:
            margins.append(same_side(-harm, beyond))
    b = shorter / _LONGER
    stated = np.sqrt(2 * (b + 1) + 8 * b / ((b + 1) + np.sqrt(b * b + 14 * b + 1)))
    return every(1.0, *margins, equals(exact, stated, 1e-9))


def _samples(ratio: st.SearchStrategy[float], others: st.SearchStrategy[int]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "ratio": ratio,
            "signals": st.tuples(numbers(2.6, 4), numbers(1.9, 2.4), numbers(1.2, 1.6)),
            "variance": decades(1e-3, 10),
            "others": others,
            "draw": seeds(),
        }
    )


CLAIMS = (
    Claim(
        id="overfitting-edge",
        statement="Of a sample A + E, E of variance v, large and with few modes that stand out, learning a singular "
        "mode in full lowers the held-out loss iff it is above (4/sqrt 3) sqrt(d v), or what that is where not square",
        source="Gavish and Donoho 2014, read as stages",
        equation="6.5",
        domain=_samples(st.sampled_from([0.5, 1.0]), st.just(0)),
        check=check_edge,
        variants=(
            Variant(name="whatever-stands-out", changes={"rule": "signal-above-noise"}),
            Variant(name="as-if-square", changes={"rule": "square"}),
        ),
        beyond=Outside(
            assumption="few modes stand out",
            domain=_samples(st.just(1.0), st.integers(150, 290)),
            example={"ratio": 1.0, "signals": (3.0, 2.0, 1.5), "variance": 1.0, "others": 250, "draw": 0},
        ),
    ),
)
