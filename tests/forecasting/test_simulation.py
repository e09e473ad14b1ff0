"""Networks of the prior: their losses against sweeps and an integrator, and what is called worse."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import linsim as ls
from linsim.forecasting.columns import COLUMNS
from linsim.forecasting.prior import MODES, SHIFTS, draw
from linsim.forecasting.simulation import losses_of, outcome, simulate
from linsim.precision import computing_in

NETWORKS = draw(60, seed=5)


def exact(networks, times):
    with computing_in("float64"):
        return np.asarray(losses_of(networks, times))


def test_losses_are_those_of_an_integrator():
    """Every mode of some networks by scipy, ds/dt = 2 L v s^(2 - 2/L) (a - b s), to its tolerance of 1e-10."""
    for number in (0, 1, 2, int(np.argmin(NETWORKS.depth))):
        one = type(NETWORKS)(*(each[number : number + 1] for each in NETWORKS))
        s, sigma, goal, v = (each[0] for each in (one.starts, one.strengths, one.shifted, one.variances))
        depth, time = int(one.depth[0]), float(one.largest[0])

        def flow(start, drive, stiffness, length, depth=depth):
            def slope(_, now, drive=drive, stiffness=stiffness):
                return 2 * depth * np.abs(now) ** (2 - 2 / depth) * (drive - stiffness * now)

            return solve_ivp(slope, (0, length), start, rtol=1e-10, atol=1e-14, method="DOP853").y[:, -1]

        before = flow(s, v * sigma, v, time)
        penalty = float(one.penalty[0])
        after = flow(before, v * goal + penalty * before, v + penalty, float(one.finetune_time[0]))
        told = exact(one, np.array([[time]]))[:, 0, 0]
        found = [np.sum(v * (state - task) ** 2) for state in (before, after) for task in (sigma, goal)]
        floors = np.tile(one.floors[0], 2)
        scale = np.sum(v * (sigma**2 + goal**2))
        assert np.allclose(told, found + floors, rtol=1e-6, atol=3e-9 * scale)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", range(4))
def test_losses_are_those_of_a_sweep(number):
    """The engine's flow on the same tasks and start; whitened networks without a floor."""
    pick = np.flatnonzero(
        (NETWORKS.depth == 2) & (np.ptp(NETWORKS.variances, axis=1) == 0) & (NETWORKS.floors[:, 0] == 0)
    )
    one = type(NETWORKS)(*(each[pick[number]][None] for each in NETWORKS))
    tasks = [ls.LinearTask.create(each[0]) for each in (one.strengths, one.shifted)]
    layers = (np.diag(np.sqrt(one.starts[0])),) * 2
    budgets, rate = np.array([100, 400, 1600]), float(one.largest[0]) / 1600
    tuning = ls.Phase(float(one.finetune_time[0]) / 100, product_penalty=float(one.penalty[0]))
    problem = ls.Problem(
        ls.Transfer(*tasks), ls.stack_seeds([layers]), ls.Phase(rate), tuning, budgets, finetune_steps=100
    )
    swept = ls.sweep(problem, {"learning_rate": [tuning.learning_rate]}, solver="flow", rechecked=0)
    told = exact(one, budgets[None] * rate)[COLUMNS.index("pretrain_loss_after"), 0]
    zero = np.sum(one.strengths**2 + one.shifted**2)
    assert np.allclose(swept["pretrain_loss_after"].values.squeeze(), told, rtol=1e-7, atol=3e-9 * zero)


def test_a_rise_counts_beyond_the_margin_and_beyond_what_is_immaterial():
    ahead = np.array([[1.0, 1.01, 1.03, 0.5], [1e-6, 2e-6, 3e-6, 4e-6]])
    curve = np.array([[2.0, 1.0, 3.0], [3e-6, 1e-6, 4e-6]])
    budgets = np.array([[0.5, 1.0, 8.0]] * 2)
    worse, turn = outcome(ahead, budgets, curve, zero=np.array([2.0, 2.0]))
    assert worse.tolist() == [[False, True, False], [False, False, False]]
    assert turn.tolist() == [0.0, np.inf]


def test_the_prior_holds_what_it_says():
    networks = draw(3000, seed=1)
    assert networks.strengths.shape == (3000, MODES) and len(SHIFTS) == 10
    assert set(networks.depth) == {1, 2}
    counts = np.isfinite(networks.budgets).sum(axis=1)
    assert counts.min() == 3 and counts.max() == 16
    steps = np.diff(networks.budgets, axis=1)
    assert (steps[np.isfinite(steps)] > 0).all() and (networks.starts >= 0).all()
    assert 0.55 < (networks.noise > 0).mean() < 0.65


def test_simulations_of_one_seed_are_the_same_and_have_their_errors():
    first, second = (simulate(NETWORKS, seed) for seed in (0, 0))
    assert np.array_equal(first.losses, second.losses, equal_nan=True)
    noisy = NETWORKS.noise > 0
    other = simulate(NETWORKS, 1).losses
    apart = np.nanmax(np.abs(np.log(other / first.losses)), axis=(0, 2))
    assert (apart[~noisy] < 1e-12).all() and (apart[noisy] > 0).all()


@pytest.mark.parametrize("given", [{"count": 0, "seed": 0}, {"count": 1, "seed": -1}])
def test_bad_counts_are_refused(given):
    with pytest.raises(ls.InvalidInput):
        draw(**given)
