"""Rises of modes: located between budgets, and in closed form against integrators and formulas of their own."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from linsim import network
from linsim.phase import Phase
from linsim.problem import Problem, stack_seeds
from linsim.tasks import LinearTask, Transfer, random_basis
from linsim.theory.rises import BalancedModes, flow_time, rise_of
from tests.problems import aligned_problem, balanced_problem, gaussian_problem

SIGMA = 2 / np.arange(1, 4)


def aligned(depth, scales, variances=(1.0, 1.0, 1.0)):
    """Three modes of a task in random bases, a seed from every scale."""
    rng = np.random.default_rng(depth)
    left, right = random_basis(4, rng), random_basis(3, rng)
    covariance = (right * np.asarray(variances)) @ right.T
    task = LinearTask.create(SIGMA, outputs=4, inputs=3, left=left, right=right, input_covariance=covariance)
    starts = [network.aligned((3, *[3] * (depth - 1), 4), task, np.full(3, scale)) for scale in scales]
    return Problem(Transfer(task, task), stack_seeds(starts), Phase(0.01), Phase(0.01), np.asarray([1]), 0)


def test_a_rise_is_found_between_budgets_and_left_out_where_they_do_not_resolve_it():
    budgets = np.arange(1, 2001)
    known = 1 / (1 + np.exp(-(budgets - 500.5) / 40))
    rise = rise_of(budgets, np.stack([known, known * 0.4, np.ones(2000), budgets > 700.0]))
    # A chord of a curve with curvature 1 / (10 x 40^2) errs by 1/8 of that.
    np.testing.assert_allclose(rise.half, [500.5, np.nan, np.nan, 700.5], atol=1e-3)
    np.testing.assert_allclose(rise.width[0], 2 * np.log(9) * 40, atol=0.01)
    assert np.isnan(rise.width[1:]).all()
    np.testing.assert_allclose(rise.overlap, [0.2, np.nan, np.nan, np.nan], atol=1e-4)


def test_runs_are_told_apart_and_one_budget_shows_no_rise():
    budgets = np.arange(1, 101)
    curves = budgets / np.asarray([100.0, 200.0, 400.0])[:, None]
    both = rise_of(budgets, np.stack([curves, curves[::-1]]))
    np.testing.assert_allclose(both.half, [[50, 100, np.nan], [np.nan, 100, 50]])
    np.testing.assert_allclose(both.overlap, [[0.25, 0.25, np.nan], [np.nan, 1, np.nan]])
    assert all(np.isnan(part).all() for part in rise_of(budgets[:1], curves[:, :1]))


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_flow_time_is_the_time_an_integrator_takes(depth):
    start, end = 0.01, 0.6
    reached = flow_time(depth, np.array(start), np.array(end), np.array(0.7))
    solved = solve_ivp(
        lambda _, s: 2 * depth * s ** (2 - 2 / depth) * (0.7 - s), (0, reached), [start], rtol=1e-11, atol=1e-14
    )
    np.testing.assert_allclose(solved.y[0, -1], end, rtol=1e-8)  # a thousand times the integrator's tolerance
    assert np.isnan(flow_time(depth, np.array(0.5), np.array(0.1), np.array(0.7)))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_balanced_modes_are_half_learned_when_they_say_and_what_has_begun_by_then_is_there(depth):
    modes = BalancedModes.of(aligned(depth, (1e-3, 1e-2), variances=(1.0, 0.5, 2.0)))
    rise = modes.rise()
    at_half = np.stack([modes.at(rise.half[:, [mode]]) for mode in range(3)])
    for mode in range(3):  # rounding of two closed forms
        np.testing.assert_allclose(at_half[mode, :, mode], SIGMA[mode] / 2, rtol=1e-10)
    for mode in range(2):
        np.testing.assert_allclose(rise.overlap[:, mode], at_half[mode, :, mode + 1] / SIGMA[mode + 1], rtol=1e-12)
    assert np.isnan(rise.overlap[:, -1]).all()


def test_at_two_layers_the_next_mode_has_the_stated_odds():
    scales = np.asarray([1e-3, 1e-2])[:, None]
    share = BalancedModes.of(aligned(2, scales[:, 0])).rise().overlap[:, :2]
    odds = (SIGMA[:-1] / scales - 1) ** (SIGMA[1:] / SIGMA[:-1]) / (SIGMA[1:] / scales - 1)
    np.testing.assert_allclose(share, odds / (1 + odds), rtol=1e-10)  # arithmetic on both sides


def test_some_modes_are_those_of_all_in_another_order():
    whole = BalancedModes.of(aligned(3, (1e-2,)))
    some = whole.of_modes(np.asarray([2, 0]))
    np.testing.assert_array_equal(some.at(np.asarray(0.7)), whole.at(np.asarray(0.7))[:, [2, 0]])


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (lambda: replace(aligned(2, (1e-2,)), idealised=True), "idealised"),
        (lambda: replace(aligned(2, (1e-2,)), pretrain=Phase(0.01, momentum=0.5)), "pre-training is not plain"),
        (lambda: aligned_problem(pretrain=Phase(0.01, weight_decay=0.01), random_bases=False), "weight decay"),
        (lambda: balanced_problem(), "not diagonal in the common bases"),
        (lambda: gaussian_problem(3), "input covariance couples the modes"),
        (lambda: unequal(aligned(2, (1e-2,))), "the layers of a mode differ by 7.5e-01"),
        (lambda: reaching(aligned(2, (1e-2,))), "weights reach outside the modes"),
    ],
)
def test_where_modes_are_not_balanced_and_alone_it_says_why(problem, reason):
    said = BalancedModes.of(problem())
    assert isinstance(said, str)
    assert reason in said


def unequal(problem):
    """The same product, the first layer twice as large."""
    first, second = problem.initial
    return replace(problem, initial=(2 * first, second / 2))


def reaching(problem):
    """A fourth hidden unit that the output does not see."""
    first, second = problem.initial
    first = np.concatenate([first, np.zeros_like(first[:, :1])], axis=1)
    second = np.concatenate([second, np.zeros_like(second[:, :, :1])], axis=2)
    second[0, :, 3] = 0.1 * problem.transfer.pretrain.left[:, 3]
    return replace(problem, initial=(first, second))
