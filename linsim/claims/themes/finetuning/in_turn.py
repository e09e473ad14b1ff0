"""Claims about tasks in turn: what a new head makes a network forget, and how long a reversal takes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import flowed, product, rotation, two_layers
from linsim.testing.draws import decades, numbers, seeds, sized, values
from linsim.theory.in_turn.heads import head_forgetting
from linsim.theory.in_turn.reversal import reversal_time


def check_heads(problem: PlainProblem, head: str = "", overlap: float = 1.0) -> float:
    """Flow of the shared layer with the second head until its task is learned, and the first head on it."""
    one, two, shared, seed = problem["first"], problem["second"], problem["overlap"], problem["seed"]
    inputs, hidden = rotation(seed, 4), rotation(seed + 1, 3)
    unit = hidden[:, :1]
    first, second = inputs[:, 0], shared * inputs[:, 0] + np.sqrt(1 - shared**2) * inputs[:, 1]
    layer, old = np.sqrt(one) * unit @ first[None], np.sqrt(one) * unit.T
    new = problem["size"] * rotation(seed + 2, 3)[:1] + (old if problem["head"] == "copied" else 0.0)
    # A head leaves 0 by o sigma, and the slower of both layers has a curvature of 2 sigma_1.
    time = 30.0 / (min(one, two) * max(shared, 0.1))
    moved = flowed([layer, new], two * second[None], time)
    learned = float(np.sum((product(moved)[0] - two * second) ** 2))
    forgot = float(np.sum((old @ moved[0] - one * first) ** 2))
    told = float(head_forgetting(one, two, overlap * shared, head or problem["head"]))
    return every(equals(learned, 0.0, 1e-8, scale=two**2), equals(forgot, told, 1e-4, scale=max(one**2, told)))


def check_reversal(problem: PlainProblem, factor: float = 1.0) -> float:
    """Flow of layers in random bases from a task to the same with the other sign, for the time told of every mode."""
    strengths, balance, seed = np.asarray(problem["strengths"]), problem["balance"], problem["seed"]
    modes, left = len(strengths), problem["left"]
    bases = [rotation(seed + at, modes) for at in range(3)]
    start = two_layers(bases[0], strengths, bases[2], balance, bases[1])
    target = -(bases[0] * strengths) @ bases[2].T
    errors = []
    for at, (time, strength) in enumerate(zip(reversal_time(strengths, balance, left), strengths, strict=True)):
        reached = bases[0].T @ product(flowed(start, target, factor * float(time))) @ bases[2]
        errors.append(reached[at, at] / strength + 1 - left)
    return equals(np.asarray(errors), 0.0, 1e-5, scale=1.0)


def _heads(head: str, size: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return st.fixed_dictionaries(
        {
            "first": numbers(0.5, 2),
            "second": numbers(0.5, 2),
            "overlap": numbers(0.2, 1),
            "head": st.just(head),
            "size": size,
            "seed": seeds(),
        }
    )


def _reversals(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.5, 2), modes),
            "balance": balance,
            "left": numbers(0.1, 0.9),
            "seed": seeds(),
        },
        (1, 2, 3),
    )


_ONE: PlainProblem = {"first": 1.0, "second": 1.0, "overlap": 0.5, "head": "fresh", "size": 0.0, "seed": 0}

CLAIMS = (
    Claim(
        id="fresh-head-forgetting",
        statement="One output, two balanced layers that have learned sigma_1 a_1 alone, then sigma_2 a_2 with a new "
        "head from 0, o = a_1 . a_2 > 0: the loss of the first task ends at sigma_1 (w^2 + sigma_1 - "
        "2 w sqrt(sigma_1) o), w^2 = (sigma_1 + sqrt(sigma_1^2 + 4 sigma_2^2)) / 2",
        source="re-derived",
        equation="3.9",
        domain=_heads("fresh", st.just(0.0)),
        check=check_heads,
        variants=(
            Variant(name="as-of-a-copied-head", changes={"head": "copied"}),
            Variant(name="as-of-half-the-overlap", changes={"overlap": 0.5}),
        ),
        beyond=Outside(
            assumption="the new head starts at 0",
            domain=_heads("fresh", numbers(0.5, 1)),
            example={**_ONE, "size": 0.8},
        ),
    ),
    Claim(
        id="copied-head-forgetting",
        statement="The same with a copy of the first head: sigma_1 (sigma_1 + sigma_2 - 2 sqrt(sigma_1 sigma_2) o), "
        "which only falls with the overlap",
        source="re-derived",
        equation="3.9",
        domain=_heads("copied", st.just(0.0)),
        check=check_heads,
        variants=(Variant(name="as-of-a-fresh-head", changes={"head": "fresh"}),),
    ),
    Claim(
        id="reversal-time",
        statement="Lambda-balanced layers that have learned A, trained on -A: a mode goes from sigma to -(1 - r) sigma "
        "in the flow time ln(g(r sigma) / g(2 sigma)) / (4 R), a = |l| / 2, R^2 = sigma^2 + a^2, "
        "g(u) = (R^2 - sigma u + R sqrt(u^2 - 2 sigma u + R^2)) / u",
        source="re-derived",
        equation="3.10",
        domain=_reversals(st.one_of(decades(1e-4, 3), decades(1e-4, 3).map(lambda l: -l))),
        check=check_reversal,
        variants=(Variant(name="half-the-time", changes={"factor": 0.5}),),
    ),
)
