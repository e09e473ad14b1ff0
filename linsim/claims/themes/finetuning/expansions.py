"""Claims about forgetting: exact from the displacement, to second order, and split over modes (theory 3.8)."""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from linsim.claims.claim import Claim, PlainProblem, Variant
from linsim.claims.margins import equals, every
from linsim.claims.themes.simulation import Layers, Matrix, product, task_of
from linsim.measures.forgetting import exact_forgetting, forgetting_by_mode, loss_by_mode, quadratic_forgetting
from linsim.testing.draws import numbers, seeds

_WIDTHS = ((2, 2), (2, 2, 2), (4, 3, 2), (3, 4, 3, 2), (8, 8, 8))


def check_expansion(problem: PlainProblem, halves: float = 1.0, exact: bool = False) -> float:
    """Fit the loss along the displacement, a polynomial of degree 2 L, and compare its first two coefficients."""
    before, after, target, covariance = _pair(problem)
    points = np.cos(np.pi * np.arange(2 * len(before) + 1) / (2 * len(before)))  # enough for the degree, and spread
    paths = [[old + step * (new - old) for old, new in zip(before, after, strict=True)] for step in points]
    losses = [_loss(path, target, covariance) for path in paths]
    at, slope, bend = Polynomial.fit(points, losses, len(points) - 1).convert().coef[:3]
    told, scale = quadratic_forgetting(_arrays(before), _arrays(after), target, covariance), float(np.max(losses))
    of_orders = [told.gradient, told.curvature, told.total]
    orders = equals(of_orders, [slope, halves * bend, slope + halves * bend], 1e-10, scale=scale)
    whole = exact_forgetting(_arrays(before), _arrays(after), target, covariance)
    forgotten = float(told.total) if exact else losses[0] - at
    return every(orders, equals([told.exact, whole], np.full(2, forgotten), 1e-10, scale=scale))


def check_split(problem: PlainProblem, own: float = 1.0, coupled: bool = True) -> float:
    """Compare the shares of modes with entries of the residual in the task's bases; they add up to the forgetting."""
    before, after, target, covariance = _pair(problem)
    task = task_of(target, covariance)
    between = task.right.T @ covariance @ task.right
    between = between if coupled else np.diag(np.diag(between))
    shares, losses = [], []
    for layers in (before, after):
        residual = task.left.T @ (product(layers) - target) @ task.right
        entries = residual * (residual @ between)
        modes = min(entries.shape)
        alone, rest = (
            np.diagonal(entries),
            np.where(np.eye(entries.shape[0], entries.shape[1], dtype=bool), 0.0, entries),
        )
        inside = rest[:modes, :modes].sum(axis=0) + rest[:modes, :modes].sum(axis=1)
        beyond = rest[modes:].sum(axis=0)[:modes] + rest[:, modes:].sum(axis=1)[:modes]
        shares.append(np.stack([own * alone, inside / 2 + beyond]))
        losses.append(_loss(layers, target, covariance))
    told = loss_by_mode(_arrays(after), task)  # `total` is own + cross, and summed over modes all of it
    found = forgetting_by_mode(_arrays(before), _arrays(after), task)
    scale = max(losses)
    parts = equals([told.own, told.cross], shares[1], 1e-11, scale=scale)
    changes = equals([found.own, found.cross], shares[1] - shares[0], 1e-11, scale=scale)
    whole = equals([np.sum(told.total), np.sum(found.total)], [losses[1], losses[1] - losses[0]], 1e-11, scale=scale)
    return every(parts, changes, whole)


def _pair(problem: PlainProblem) -> tuple[Layers, Layers, Matrix, Matrix]:
    """Weights before and after with nothing in common, a task in bases of its own, any input covariance."""
    rng, widths = np.random.default_rng(problem["seed"]), problem["widths"]
    before, moved = (
        [rng.standard_normal((rows, columns)) / np.sqrt(columns) for columns, rows in itertools.pairwise(widths)]
        for _ in range(2)
    )
    after = [old + problem["size"] * new for old, new in zip(before, moved, strict=True)]
    spread = rng.standard_normal((widths[0], widths[0])) / np.sqrt(widths[0])
    covariance = spread @ spread.T if problem["coloured"] else np.eye(widths[0])
    return before, after, rng.standard_normal((widths[-1], widths[0])), covariance


def _loss(layers: Layers, target: Matrix, covariance: Matrix) -> float:
    residual = product(layers) - target
    return float(np.sum(residual @ covariance * residual))


def _arrays(layers: Layers) -> Any:
    return tuple(map(jnp.asarray, layers))


_COLOURED, _EITHER = st.just(True), st.booleans()


def _pairs(
    widths: tuple[tuple[int, ...], ...] = _WIDTHS, coloured: st.SearchStrategy[bool] = _EITHER
) -> st.SearchStrategy[PlainProblem]:
    drawn = {"widths": st.sampled_from(widths), "size": numbers(0.05, 2), "seed": seeds(), "coloured": coloured}
    return st.fixed_dictionaries(drawn)


CLAIMS = (
    Claim(
        id="forgetting-to-second-order",
        statement="At any depth and input covariance, away from minima too: forgetting is <g, D> + (1/2) <D, H D>, the "
        "first two orders of a polynomial of degree 2 L in the displacement D of the weights, which is exact",
        source="re-derived; the curvature term as in Watts et al. 2026",
        equation="3.8",
        domain=_pairs(),
        check=check_expansion,
        variants=(
            Variant(name="curvature-without-its-half", changes={"halves": 2.0}),
            Variant(name="nothing-beyond-second-order", changes={"exact": True}, domain=_pairs(_WIDTHS[1:])),
        ),
    ),
    Claim(
        id="forgetting-splits-over-modes",
        statement="Forgetting is the sum over modes of changes of R_ij (R C)_ij, R residual and C inputs in the "
        "task's bases: i = j is a mode's own, i != j is shared half and half, or of the one that is a mode",
        source="re-derived",
        equation="3.8",
        domain=_pairs(),
        check=check_split,
        variants=(
            Variant(name="own-errors-counted-twice", changes={"own": 2.0}),
            Variant(
                name="as-if-inputs-were-uncorrelated", changes={"coupled": False}, domain=_pairs(coloured=_COLOURED)
            ),
        ),
    ),
)
