"""A bound on the curvature that plain descent meets on its way, from where it begins: it may only acquit.

The objective of a phase is  ||(P - P_1) (S + lambda)^(1/2)||^2 + (mu/2) sum ||W_l - W_l^0||^2 + (beta/2) sum ||W_l||^2
and a constant, with P_1 = (A S + lambda P_0) (S + lambda)^-1. Where all ||W_l|| <= w and M = (P - P_1) (S + lambda),
its Hessian has no eigenvalue above

    C = 2 (s_max + lambda) L w^(2L-2) + 2 (L-1) w^(L-2) ||M|| + mu + beta.

While rate x C < 2 q, a step lowers the objective by more than rate x (1 - q) ||gradient||^2. Let D be how far the
objective stands above the least value of its first term at the beginning: descent keeps ||P - P_1||^2 (s_min + lambda)
and ||M||^2 / (s_max + lambda) below D, and the squares of all its steps sum to less than rate x D / (1 - q). Two
consequences bound w, and the smaller counts:

  * no W_l is further than sqrt(steps x rate x D / (1 - q)) from where it began, nor than sqrt(2 D / mu);
  * a step changes no imbalance W_{l+1}^T W_{l+1} - W_l W_l^T by more than its own square, unless mu > 0. With all of
    them below c, w^2 <= ||P||^(2/L) + (L-1) c + floor((L-1)/2) c; two layers: w^2 <= c/2 + sqrt(c^2/4 + ||P||^2).

[re-derived] If rate x C < 2 q with w so bounded, none of this can fail first, and the phase is stable. With momentum m
in heavy-ball form the same holds of the objective plus (m / 2 rate) ||last step||^2 for q (1 - m) in place of q and
(1 - q) (1 - m) in place of 1 - q, but not of the imbalance.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from linsim.tasks import LinearTask

MARGIN = 0.8
"""q."""

OfLanes = Any
"""A number of every lane, or one of all; arrays are broadcast against each other."""


class Start(NamedTuple):
    """Where a phase begins; each may be larger than it is."""

    product: OfLanes
    """||P_0||, the largest singular value, as of all matrices here."""
    loss: OfLanes
    """L(P_0) on the task of the phase."""
    imbalance: OfLanes
    """Largest ||W_{l+1}^T W_{l+1} - W_l W_l^T||."""
    layer: OfLanes
    """Largest ||W_l||."""


class Rule(NamedTuple):
    """How a phase of plain descent steps; 0 for penalties that are absent."""

    rate: OfLanes
    """The largest on the way."""
    product_penalty: OfLanes
    weight_penalty: OfLanes
    weight_decay: OfLanes
    momentum: OfLanes
    steps: int


class Reach(NamedTuple):
    """What a phase does not exceed; infinite where nothing is known."""

    acquitted: OfLanes
    """Whether rate x curvature stays below the margin; only then does the rest hold."""
    curvature: OfLanes
    """C."""
    product: OfLanes
    imbalance: OfLanes
    layer: OfLanes


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def reach(start: Start, rule: Rule, task: LinearTask, widths: tuple[int, ...]) -> Reach:
    """The bound above.

    Args:
      start: of the phase.
      rule: of the phase.
      task: of the phase.
      widths: (d_in, h_1, ..., d_out).
    """
    depth, (rate, penalty, pull, decay, momentum, steps) = len(widths) - 1, rule
    variances = np.maximum(np.linalg.eigvalsh(task.input_covariance), 0)
    least, most = variances[0] + penalty, variances[-1] + penalty
    goal = variances[-1] / most * np.linalg.norm(task.target, 2) + _share(penalty, least) * start.product
    rank = sum(min(pair) for pair in itertools.pairwise(widths))
    above = start.loss * variances[-1] / most + np.where(decay > 0, decay / 2 * rank * start.layer**2, 0)
    product = goal + np.sqrt(above / least)
    squares = rate * above / ((1 - MARGIN) * (1 - momentum))
    moved = np.minimum(np.sqrt(steps * squares), np.where(pull > 0, np.sqrt(2 * above / pull), np.inf))
    conserved = (pull == 0) & (momentum == 0)
    # With decay the gradient that turns the imbalance is that of the objective less decay x W, of which as much is
    # known: the decay forgets what it has added.
    imbalance = np.where(conserved, start.imbalance + squares * np.where(decay > 0, 4, 1), np.inf)
    layer = np.fmin(start.layer + moved, _layer(product, imbalance, depth))
    force = np.sqrt(most * above)
    curvature = 2 * most * depth * layer ** (2 * depth - 2) + pull + decay
    if depth > 1:
        curvature = curvature + 2 * (depth - 1) * layer ** (depth - 2) * force
    curvature = np.where(np.isnan(curvature), np.inf, curvature)
    acquitted = rate * curvature < 2 * MARGIN * (1 - momentum)
    return Reach(acquitted, *(np.where(acquitted, each, np.inf) for each in (curvature, product, imbalance, layer)))


def _share(penalty: OfLanes, least: OfLanes) -> OfLanes:
    """lambda / (s_min + lambda), 0 without a penalty."""
    return np.where(penalty > 0, penalty / least, 0.0)


def _layer(product: OfLanes, imbalance: OfLanes, depth: int) -> OfLanes:
    """w of layers that are balanced but for c."""
    if depth == 2:
        return np.sqrt(imbalance / 2 + np.sqrt(imbalance**2 / 4 + product**2))
    return np.sqrt(product ** (2 / depth) + (depth - 1 + (depth - 1) // 2) * imbalance)
