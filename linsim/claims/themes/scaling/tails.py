"""Claims about fine-tuning that amplifies the tail of a power law: losses scale with where the tail begins."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from linsim.claims.claim import Claim, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.scaling.sums import law_of, logistic, tail
from linsim.testing.draws import decades, numbers
from linsim.theory.scaling.tails import tuned_tail


def check_tail(problem: PlainProblem, power: float = 1.0) -> float:
    """Both losses by integrated modes; and the same at twice n0, with all times 2^a as long, in its units."""
    law, first, factor = law_of(problem), problem["first"], problem["factor"]
    penalty, spread = problem["penalty"], problem["spread"]
    told = []
    for scale in (1, 2):
        unit = float(scale) ** (law.exponent * power)
        size, start = spread * first * scale, first * scale
        times = problem["pretrain"] * first**law.exponent * unit, problem["finetune"] * first**law.exponent * unit
        found = tuned_tail(law, [size], [times[0]], start, factor, times[1], penalty)
        told.append([float(each[0, 0]) for each in found])
        if scale == 1:
            measured = _integrated(problem, size, *times)
    covariant = np.array(told[1]) * 2**law.gain
    # Sums of n0 modes: the first is half a mode off, and so is the last.
    return every(equals(told[0], measured, 1e-6), equals(covariant, np.array(told[0]), 1.6 / first))


def _integrated(problem: PlainProblem, size: int, pretrain: float, finetune: float) -> np.ndarray:
    a, penalty = problem["exponent"], problem["penalty"]
    modes = np.arange(1, size + 1)
    sigma = modes.astype(float) ** -a
    goal = np.where(modes >= problem["first"], problem["factor"], 1.0) * sigma
    begun = sigma * (1 - logistic(problem["start"], sigma, np.array([pretrain]))[0])

    def slope(_: float, s: np.ndarray) -> np.ndarray:
        return 4 * s * (goal - s + penalty * (begun - s))

    reached = solve_ivp(slope, (0.0, finetune), begun, method="LSODA", rtol=1e-9, atol=1e-12).y[:, -1]
    beyond = tail(a, size)
    return np.array(
        [np.sum((reached - sigma) ** 2) + beyond, np.sum((reached - goal) ** 2) + problem["factor"] ** 2 * beyond]
    )


CLAIMS = (
    Claim(
        id="tail-covariance",
        statement="Power laws, two layers, modes from n0 on amplified c times with any penalty: both losses of "
        "fine-tuned models, in units of n0^(1 - 2 a), are functions of D/n0^a, T/n0^a and N/n0 up to 1/n0: with T "
        "in units of n0^a, the budget at which they turn grows as n0^a, too",
        source="re-derived",
        equation="8.7",
        domain=st.fixed_dictionaries(
            {
                "exponent": numbers(0.7, 1.8),
                "start": decades(1e-4, 1e-2),
                "first": st.integers(12, 30),
                "factor": numbers(1.5, 5.0),
                "penalty": st.one_of(st.just(0.0), numbers(0.1, 2.0)),
                "spread": st.integers(2, 4),
                "pretrain": numbers(0.5, 8.0),
                "finetune": numbers(0.02, 1.0),
            }
        ),
        check=check_tail,
        variants=(Variant(name="times-as-they-are", changes={"power": 0.0}),),
    ),
)
