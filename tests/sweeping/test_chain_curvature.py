"""The curvature of chains, held against dense Hessians by hand, in NumPy."""

import numpy as np
import pytest

from linsim.dynamics.modes.chains import Bases, Target
from linsim.phase import Phase
from linsim.sweeping.checks.chain_curvature import ChainTask, Penalties
from linsim.sweeping.checks.edge import started
from linsim.tasks import LinearTask, random_basis
from tests.sweeping.test_stability import hessian


def chain_network(widths, rng, scale=1.0):
    """Chains at random, the weights that they are in some bases, a task, and the same as chains see it."""
    modes = min(widths[0], widths[-1])
    used = min(widths)
    bases = []
    for width in widths:
        basis = np.zeros((width, modes))
        count = modes if width in (widths[0], widths[-1]) else used
        basis[:, :count] = random_basis(width, rng)[:, :count]
        bases.append(basis)
    chain = scale * rng.normal(size=(len(widths) - 1, modes))
    for layer in range(len(widths) - 1):
        chain[layer, ~(np.any(bases[layer], axis=0) & np.any(bases[layer + 1], axis=0))] = 0
    weights = [(bases[l + 1] * chain[l]) @ bases[l].T for l in range(len(chain))]
    variances = rng.uniform(0.2, 2.0, size=widths[0])
    left, sides = (np.hstack([basis, np.linalg.svd(basis)[0][:, modes:]]) for basis in (bases[-1], bases[0]))
    covariance = (sides * variances) @ sides.T
    covariance = (covariance + covariance.T) / 2
    strengths = rng.uniform(0.3, 2.0, size=modes)
    task = LinearTask(left, strengths, sides, covariance)
    seen = ChainTask.of(task, Target(strengths, variances[:modes]), Bases(tuple(basis[None] for basis in bases), None))
    return chain, weights, task, seen


@pytest.mark.parametrize(
    "widths",
    [
        (3, 3),
        (2, 4),
        (4, 2),
        (3, 3, 3),
        (4, 3, 2),
        (2, 5, 3),
        (3, 2, 3),
        (3, 1, 4),
        (2, 2, 2, 2),
        (3, 4, 2, 3),
        (2,) * 5,
    ],
    ids=str,
)
def test_it_is_the_top_eigenvalue_of_the_dense_hessian(widths):
    rng = np.random.default_rng(len(widths) + sum(widths))
    for scale in (0.3, 1.0, 1.5):
        chain, weights, task, seen = chain_network(widths, rng, scale)
        phase = Phase(0.1, product_penalty=0.7, weight_penalty=0.2, weight_decay=0.4)
        anchor = [1.3 * weight for weight in weights]
        top = np.linalg.eigvalsh(hessian(weights, anchor, task, phase))[-1]
        most = top * np.asarray([1 + 1e-9, 1 - 1e-9, 0.5, 2.0])  # eigvalsh rounds to 1e-14
        penalties = Penalties(*(np.full(4, each) for each in (0.7, 0.2, 0.4)))
        seeds, many = np.zeros(4, int), np.stack([chain] * 4)
        found = seen.exceeds(many, 1.3 * many, seeds, penalties, most)
        np.testing.assert_array_equal(found, [False, True, True, False])
        begun = started(tuple(weight[None] for weight in weights), task)
        for ours, theirs in zip(seen.start(chain[None]), begun, strict=True):
            # The bound takes a larger imbalance, which is that of units without a mode, too.
            assert np.all(ours <= theirs * (1 + 1e-12) + 1e-12)


@pytest.mark.parametrize("lost", [np.nan, np.inf, 1e200])
def test_what_is_not_finite_exceeds_everything(lost):
    chain, _, _, seen = chain_network((3, 3, 3), np.random.default_rng(0))
    chain[0, 1] = lost
    nothing = Penalties(*np.zeros((3, 1)))
    assert seen.exceeds(chain[None], chain[None], np.zeros(1, int), nothing, np.asarray([1e300])).all()
    assert np.isinf(seen.start(chain[None]).layer).all()


def test_many_runs_are_taken_in_parts(monkeypatch):
    rng = np.random.default_rng(1)
    chain, _, _, seen = chain_network((4, 4, 4), rng)
    many = chain * rng.uniform(0.1, 2.0, size=(50, 1, 1))
    nothing, most = Penalties(*np.zeros((3, 50))), np.full(50, 10.0)
    whole = seen.exceeds(many, many, np.zeros(50, int), nothing, most)
    assert 0 < whole.sum() < 50
    monkeypatch.setattr("linsim.sweeping.checks.chain_curvature._NUMBERS", 1)
    np.testing.assert_array_equal(seen.exceeds(many, many, np.zeros(50, int), nothing, most), whole)
