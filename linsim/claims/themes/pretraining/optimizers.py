"""Claims about optimisers in pre-training, section 4 of the theory: paths, the floor of signs, curvature on a path."""

from __future__ import annotations

import jax
import numpy as np
from hypothesis import strategies as st
from scipy.optimize import brentq

from linsim.claims.claim import Claim, Outside, PlainProblem, Variant
from linsim.claims.margins import equals, every, exceeds
from linsim.claims.themes.simulation import product, random_task, rotation, two_layers, velocity
from linsim.dynamics.moving.spectral import NaturalGradient
from linsim.testing.draws import numbers, seeds, sized, values
from linsim.theory.optimizers.muon import muon_flow, sign_floor
from linsim.theory.optimizers.order import Order, at_loss

_STEPS, _PHASES, _SIZE = 1200, 120, 3
_DAMPING = 1e-9
_damped = NaturalGradient(_DAMPING)(1.0)


@jax.jit
def _natural(weights: tuple[jax.Array, ...], slopes: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """The step of rate 1."""
    return _damped.update(slopes, _damped.init(weights), weights)[0]


def check_muon_flow(problem: PlainProblem, alike: bool = True, started: bool = True, speed: float = 1.0) -> float:
    """Step both layers by the polar factors of their gradients, in random bases, and compare the modes' weights."""
    sigma, start = np.asarray(problem["strengths"]), problem["start"]
    modes, time, basis = len(sigma), problem["time"], problem["basis"]
    left, right, middle = (rotation(basis + shift, modes) for shift in range(3))
    target = (left * sigma) @ right.T
    layers, rate = two_layers(left, [start] * modes, right, problem["balance"], middle), time / _STEPS
    for _ in range(_STEPS):
        steps = (np.linalg.svd(speed_of) for speed_of in velocity(layers, target))
        layers = [layer + rate * (u @ v) for layer, (u, _, v) in zip(layers, steps, strict=True)]
    reached = np.sqrt(np.maximum(np.sum(left * (product(layers) @ right), axis=0), 0))
    own = time * speed * (np.ones(modes) if alike else sigma / np.max(np.abs(sigma)))
    stated = np.asarray(muon_flow(start if started else 1e-12, sigma, np.maximum(own, 0)))
    # A weight that is done steps over its place and back, by a step at most.
    return equals(reached, np.sign(stated) * np.sqrt(np.abs(stated)), tolerance=3 * rate, scale=1.0)


def check_natural_path(problem: PlainProblem, share: float = 1.0, order: Order = "natural") -> float:
    """The step of both layers moves P by -dL/dP, to first order; from 0 that is the stated path."""
    sigma = np.asarray(problem["strengths"])
    target = random_task(sigma, problem["basis"], (_SIZE,) * 3)
    generator = np.random.default_rng(problem["basis"])
    bases = [rotation(problem["basis"] + shift, _SIZE) for shift in range(4)]
    first, second = ((a * generator.uniform(0.3, 2, _SIZE)) @ b for a, b in (bases[:2], bases[2:]))
    slopes = tuple(-speed for speed in velocity([first, second], target))
    moved = [np.asarray(change) for change in _natural((first, second), slopes)]
    along = moved[1] @ first + second @ moved[0]
    gradient = 2 * (second @ first - target)
    # Damping takes e / 0.3^2 of a step off at most, inverses within 1e-8 of the largest of 30 are told by iteration.
    straight = equals(along, -share * gradient, tolerance=1e-6)
    left = np.exp(-2 * problem["time"])
    found = at_loss(sigma, float(np.sum((left * sigma) ** 2)), order)
    return every(straight, equals(found, (1 - left) * sigma, tolerance=1e-9, scale=float(sigma.max())))


def check_sign_floor(problem: PlainProblem, factor: float = 1.0, anywhere: bool = False) -> float:
    """Step both layers by signs or polar factors from all phases of every mode; their mean loss over steps and back."""
    sigma, modes = np.asarray(problem["strengths"]), len(problem["strengths"])
    rate = problem["share"] * np.sqrt(sigma.min())
    signs = problem["signs"]
    bases = [np.eye(modes) if signs and not anywhere else rotation(problem["basis"] + at, modes) for at in range(3)]
    left, right, middle = bases
    phases = (np.arange(_PHASES) + 0.5) / _PHASES
    off = np.stack([np.roll(phases, at * _PHASES // modes) for at in range(modes)], axis=1)
    weights = np.sqrt(sigma) - (2 + off) * rate
    first, second = middle * weights[:, None] @ right.T, left * weights[:, None] @ middle.T
    target, losses = left * sigma @ right.T, []
    for step in range(8):
        residual = second @ first - target
        slopes = second.transpose(0, 2, 1) @ residual, residual @ first.transpose(0, 2, 1)
        moves = [np.sign(slope) if signs else _polar(slope) for slope in slopes]
        first, second = first - rate * moves[0], second - rate * moves[1]
        losses += [np.mean(np.sum((second @ first - target) ** 2, axis=(1, 2)))] * (step >= 4)
    # The next order is (eta^2 / sigma) / 4 of this, and the sum over phases is off by their number squared.
    return equals(np.mean(losses), factor * float(np.sum(sign_floor(sigma, rate))), tolerance=3e-3)


def _polar(matrices: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(matrices)
    return np.asarray(u @ v)


def check_least_trace(problem: PlainProblem, order: Order = "soft threshold") -> float:
    """Any place on any path, and the one of the stated path at the same loss."""
    sigma, shares = np.asarray(problem["strengths"]), np.asarray(problem["shares"])
    strengths = shares * sigma
    loss = float(np.sum((sigma - strengths) ** 2))
    found = at_loss(sigma, loss, order)
    there = equals(np.sum((sigma - found) ** 2), loss, tolerance=1e-9, scale=float(np.sum(sigma**2)))
    within = exceeds(np.concatenate([found, sigma - found]), 0, rounding=1e-9, scale=float(sigma.max()))
    return every(there, within, exceeds(strengths.sum(), found.sum(), rounding=1e-9, scale=float(sigma.sum())))


def check_trace_of_muon(problem: PlainProblem, path: str = "muon", other: Order = "natural") -> float:
    """Strengths at the same loss along two paths, added up."""
    sigma = np.asarray(problem["strengths"])
    whole = float(np.sum(sigma**2))
    loss = problem["share"] * whole
    found = _descended(sigma, loss) if path == "descent" else at_loss(sigma, loss, "muon")
    there = equals(np.sum((sigma - found) ** 2), loss, tolerance=1e-8, scale=whole)
    apart = exceeds(found.sum(), at_loss(sigma, loss, other).sum(), rounding=1e-9, scale=float(sigma.sum()))
    level = equals(found, np.minimum(sigma, found.max()), tolerance=1e-9) if path == "muon" else 1.0
    return every(there, apart, level)


def _descended(sigma: np.ndarray, loss: float) -> np.ndarray:
    """Descent from 1e-4 in every mode, where its loss is this."""

    def at(log_time: float) -> np.ndarray:
        return np.asarray(sigma / (1 + (sigma / 1e-4 - 1) * np.exp(-4 * sigma * np.exp(log_time))))

    return at(brentq(lambda log_time: float(np.sum((sigma - at(log_time)) ** 2)) - loss, -12, 8, xtol=1e-14))


def _starts(balance: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 2), modes),
            "start": numbers(0.001, 0.09),
            "time": numbers(0.1, 1.2),
            "balance": balance,
            "basis": seeds(),
        },
        (1, 3),
    )


def _paths(entry: st.SearchStrategy[float]) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {"strengths": values(numbers(0.1, 3), modes), "shares": values(entry, modes)}, (1, 2, 3, 8)
    )


def _floors(
    share: st.SearchStrategy[float], signs: st.SearchStrategy[bool] | None = None, fewest: int = 1
) -> st.SearchStrategy[PlainProblem]:
    return sized(
        lambda modes: {
            "strengths": values(numbers(0.2, 3), modes),
            "share": share,
            "signs": st.booleans() if signs is None else signs,
            "basis": seeds(),
        },
        tuple(range(fewest, _SIZE + 1)),
    )


CLAIMS = (
    Claim(
        id="muon-flow",
        statement=(
            "Two balanced layers, exact polar factors, eta -> 0: sqrt(s_i) moves at speed 1 to sqrt(sigma_i), so from "
            "a common w_0 s_i = min((w_0 + t)^2, sigma_i): all modes grow as one and the weak are done first"
        ),
        source="re-derived",
        equation="4.1",
        domain=_starts(st.just(0.0)),
        check=check_muon_flow,
        variants=(
            Variant(name="the-stronger-the-faster", changes={"alike": False}),
            Variant(name="from-nothing", changes={"started": False}),
            Variant(name="twice-the-speed", changes={"speed": 2.0}),
        ),
        beyond=Outside(
            assumption="the layers are balanced",
            domain=_starts(numbers(0.5, 1)),
            example={"strengths": (2.0,), "start": 0.01, "time": 0.5, "balance": 1.0, "basis": 0},
        ),
    ),
    Claim(
        id="sign-floor",
        statement=(
            "From balanced layers in the bases of the task descent by polar factors at a constant rate eta settles at "
            "a mean loss of (4/3) sigma_i eta^2 a mode, over uniform phases and to leading order in "
            "eta / sqrt(sigma_i); so does descent by signs where these bases are the coordinates"
        ),
        source="re-derived",
        equation="4.3",
        domain=_floors(numbers(1e-3, 0.05)),
        check=check_sign_floor,
        variants=(
            Variant(name="uniform-between-both-ends", changes={"factor": 0.25}),
            Variant(name="the-most-that-it-can-be", changes={"factor": 3.0}),
            Variant(
                name="signs-in-any-bases",
                changes={"anywhere": True},
                domain=_floors(numbers(1e-3, 0.05), st.just(True), fewest=2),
            ),
        ),
        beyond=Outside(
            assumption="a step is small beside sqrt(sigma_i)",
            domain=_floors(numbers(0.3, 0.6)),
            example={"strengths": (1.0,), "share": 0.5, "signs": False, "basis": 0},
        ),
    ),
    Claim(
        id="natural-path",
        statement=(
            "W_1 <- W_1 - (eta/2) (W_2'W_2)^-1 G_1, W_2 <- W_2 - (eta/2) G_2 (W_1 W_1')^-1 moves P by -eta dL/dP up to "
            "eta^2, whatever the balance; from 0 all modes are learned alike, s_i = (1 - c) sigma_i with c^2 = L / L_0"
        ),
        source="re-derived",
        equation="4.4",
        domain=st.fixed_dictionaries(
            {"strengths": values(numbers(0.1, 3), _SIZE), "time": numbers(0.05, 2), "basis": seeds()}
        ),
        check=check_natural_path,
        variants=(
            Variant(name="both-layers-in-full", changes={"share": 2.0}),
            Variant(name="as-muon", changes={"order": "muon"}),
        ),
    ),
    Claim(
        id="least-trace-path",
        statement=(
            "Balanced layers, whitened inputs, 0 <= s_i <= sigma_i: at equal loss no path has a smaller trace of the "
            "curvature than the soft threshold s_i = max(sigma_i - m, 0)"
        ),
        source="re-derived",
        equation="4.4",
        domain=_paths(numbers(0, 1)),
        check=check_least_trace,
        variants=(
            Variant(name="natural-gradient", changes={"order": "natural"}),
            Variant(name="muon", changes={"order": "muon"}),
        ),
    ),
    Claim(
        id="trace-of-muon",
        statement=(
            "At equal loss Muon from 0 has at least the trace of the curvature that descent on P from 0 has: its "
            "residuals max(sigma_i - m, 0) are more concentrated than c sigma_i"
        ),
        source="re-derived",
        equation="4.4",
        domain=sized(
            lambda modes: {"strengths": values(numbers(0.1, 3), modes), "share": numbers(0.01, 0.95)}, (2, 3, 8)
        ),
        check=check_trace_of_muon,
        variants=(
            Variant(name="of-descent-on-the-weights", changes={"path": "descent"}),
            Variant(name="descent-above-muon", changes={"path": "descent", "other": "muon"}),
        ),
    ),
)
