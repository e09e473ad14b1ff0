"""The matrix solution against numerical integration, many digits, its limits, and every start that it must refuse."""

import diffrax
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsim import network
from linsim.dynamics.matrices.eigenbasis import into_eigenbasis, out_of_eigenbasis, spectrum
from linsim.dynamics.matrices.factor_flow import factor_flow, factor_flow_by
from linsim.dynamics.matrices.matrix_flow import matrix_flow
from linsim.dynamics.matrices.triangular import by_remainder, in_order
from linsim.dynamics.matrices.width import balance_of
from linsim.errors import InvalidInput
from linsim.tasks import random_basis

EPS = float(np.finfo(np.float64).eps)

# (d_in, h, d_out): narrower than both sides; between them; wider than both together. One compilation each.
NARROW, BETWEEN, WIDE = (4, 2, 3), (2, 3, 4), (2, 7, 3)
# A balance needs a hidden layer no wider than the side that carries it: d_out for l > 0, d_in for l < 0.
FAMILIES = st.sampled_from(
    [(NARROW, 0.0), (NARROW, 0.7), (NARROW, -1.3), (BETWEEN, 0.0), (BETWEEN, 0.7), (BETWEEN, 5.0), (WIDE, 0.0)]
)
STRENGTHS = st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.0]), min_size=2, max_size=3).filter(any)
SEEDS = st.integers(0, 2**31 - 1)
SKEW = np.asarray([[2.0, 0.5, 0.0], [0.25, 1.0, -0.5], [0.0, 0.125, 1.5]])


def targets(shape, strengths, seed):
    """A with these singular values, repeated and zero ones among them, in random bases."""
    rng = np.random.default_rng(seed)
    values = np.diag(sorted([*strengths, 0.0], reverse=True)[: min(shape[0], shape[2])])
    padded = np.pad(values, [(0, shape[2] - len(values)), (0, shape[0] - len(values))])
    return random_basis(shape[2], rng) @ padded @ random_basis(shape[0], rng)


def starts(shape, scale, balance, seed):
    """Lambda-balanced weights in random bases."""
    key = jax.random.key(seed)
    weights = network.lambda_balanced(shape, scale, balance, key) if balance else network.balanced(shape, scale, key)
    return tuple(np.asarray(weight) for weight in weights)


def facing(weights, target):
    """Square weights whose determinant has the sign of the target's: see the test of those that have the other."""
    first, second = weights
    sign = np.sign(np.linalg.det(second) * np.linalg.det(first) * np.linalg.det(target))
    return first, second * np.where(np.arange(len(second)) == 0, sign, 1.0)[:, None]


def grams(weights):
    """P, W_1^T W_1 and W_2 W_2^T: what is open up to a rotation of the hidden layer drops out."""
    first, second = weights
    return second @ first, np.swapaxes(first, -1, -2) @ first, second @ np.swapaxes(second, -1, -2)


def error(ours, theirs):
    """The largest entry of the difference over the largest entry, the worst of several quantities."""
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(ours, theirs, strict=True))


def integrated(weights, target, times, weight_decay):
    """W_1 and W_2 along the flow at tight tolerance; rows and columns of zeros, which stay so, make all shapes one."""
    (hidden, inputs), outputs = weights[0].shape, weights[1].shape[0]
    first, second, padded = np.zeros((7, 4)), np.zeros((4, 7)), np.zeros((4, 4))
    first[:hidden, :inputs], second[:outputs, :hidden], padded[:outputs, :inputs] = *weights, target
    firsts, seconds = _integrated((first, second), padded, times, weight_decay)
    return firsts[:, :hidden, :inputs], seconds[:, :outputs, :hidden]


@jax.jit
def _integrated(weights, target, times, weight_decay):
    def slope(_, weights, __):
        first, second = weights
        residual = second @ first - target
        return -2 * second.T @ residual - weight_decay * first, -2 * residual @ first.T - weight_decay * second

    # Steps end at the times: the solver's interpolation between them is of lower order, good to 1e-10 only.
    tight = diffrax.PIDController(rtol=1e-13, atol=1e-15)
    clipped = diffrax.ClipStepSizeController(tight, step_ts=times)
    ends = {"t0": 0.0, "t1": times[-1], "dt0": None, "y0": weights, "saveat": diffrax.SaveAt(ts=times)}
    term, solver = diffrax.ODETerm(slope), diffrax.Dopri8()
    return diffrax.diffeqsolve(term, solver, **ends, stepsize_controller=clipped, max_steps=20_000).ys


def naive(weights, target, time, digits, weight_decay=0.0):
    """P, W_1^T W_1 and W_2 W_2^T by formula 1.6 as it stands in theory.md, in as many digits as it needs."""
    first, second = weights
    inputs, sides = first.shape[1], first.shape[1] + second.shape[0]
    balance = balance_of(first, second)
    driver = np.zeros((sides, sides))
    driver[inputs:, :inputs], driver[:inputs, inputs:] = target, target.T
    with mpmath.workdps(digits):
        start = mpmath.matrix(np.concatenate([first.T, second]).tolist())
        shifts = [-mpmath.mpf(balance) / 2] * inputs + [mpmath.mpf(balance) / 2] * (sides - inputs)
        F = mpmath.matrix(driver.tolist()) + mpmath.diag([shift - mpmath.mpf(weight_decay) / 2 for shift in shifts])
        rates, directions = mpmath.eigsy(F)
        u = 2 * mpmath.mpf(time)
        # At a rate of about 0 the quotient of K is its limit u.
        zero = mpmath.mpf(10) ** (-digits // 2)
        kernel = [u if abs(f * u) < zero else mpmath.expm1(2 * f * u) / (2 * f) for f in rates]
        rows = directions.T * start
        bracket = mpmath.eye(rows.cols) + rows.T * mpmath.diag(kernel) * rows
        grown = directions * mpmath.diag([mpmath.exp(f * u) for f in rates]) * rows
        blocks = np.asarray((grown * bracket**-1 * grown.T).tolist()).astype(float)
    return blocks[inputs:, :inputs], blocks[:inputs, :inputs], blocks[inputs:, inputs:]


@settings(max_examples=40)
@given(FAMILIES, STRENGTHS, st.floats(0.05, 1.0), st.sampled_from([0.0, 0.3]), st.floats(0.05, 2.0), SEEDS)
def test_flow_is_the_integral_of_its_differential_equation(family, strengths, scale, decay, time, seed):
    (shape, balance), decay = family, 0.0 if family[1] else decay
    weights, target = starts(shape, scale, balance, seed), targets(shape, strengths, seed)
    times = np.asarray([0.3 * time, 0.7 * time, time])
    found = matrix_flow(weights, target, times, decay)
    # 1e-13 a step of the integrator, some tens of steps, grown by at most e^(2 * 2 * 2) = 3000 before a mode is
    # learned, of which each step's share is less: 1e-9 is the number, and errors are 1e-13 mostly.
    assert error(grams(found), grams(integrated(weights, target, times, decay))) < 1e-10


@settings(max_examples=10)
@given(FAMILIES, STRENGTHS, SEEDS)
def test_flow_on_three_tasks_with_other_singular_vectors_is_the_flow_restarted(family, strengths, seed):
    shape, balance = family
    ours = theirs = starts(shape, 0.3, balance, seed)
    times = np.asarray([0.1, 0.3, 0.5])
    for task in range(3):
        target = targets(shape, strengths, [seed, task])
        ours = tuple(weight[-1] for weight in matrix_flow(ours, target, times))
        theirs = tuple(weight[-1] for weight in integrated(theirs, target, times, 0.0))
        assert error(grams(ours), grams(theirs)) < 1e-10  # as above
        # Conserved to rounding, as each flow requires of its start.
        size = np.sum(ours[0] ** 2) + np.sum(ours[1] ** 2)
        np.testing.assert_allclose(balance_of(*ours), balance, rtol=0, atol=64 * EPS * size)


@settings(max_examples=30)
@given(FAMILIES, STRENGTHS, st.floats(0.05, 1.0), st.floats(0.0, 2.0), st.floats(0.0, 2.0), SEEDS)
def test_flow_in_two_pieces_is_the_flow_in_one(family, strengths, scale, first, second, seed):
    shape, balance = family
    weights, target = starts(shape, scale, balance, seed), targets(shape, strengths, seed)
    middle = tuple(weight[-1] for weight in matrix_flow(weights, target, np.asarray([0.0, 0.0, first])))
    twice = matrix_flow(middle, target, np.asarray([0.0, 0.0, second]))
    once = matrix_flow(weights, target, np.asarray([0.0, 0.0, first + second]))
    # A stop rounds the weights to EPS of the largest; what is small then grows by e^(2 sigma t) < e^8 = 3000 at most.
    assert error([gram[-1] for gram in grams(twice)], [gram[-1] for gram in grams(once)]) < 1e5 * EPS


@pytest.mark.parametrize("shape", [NARROW, BETWEEN, WIDE], ids=str)
def test_time_zero_is_the_start_exactly_and_times_may_have_any_shape(shape):
    weights, target = starts(shape, 0.3, 0.0, 0), targets(shape, [1.0, 0.5], 0)
    found = matrix_flow(weights, target, [[1e-300], [0.0], [2.0]])
    for ours, start in zip(found, weights, strict=True):
        assert ours.shape == (3, 1, *start.shape)
        # A wide layer goes through an orthonormal basis of what it uses.
        np.testing.assert_allclose(ours[1, 0], start, rtol=0, atol=4 * EPS if shape == WIDE else 0)
    assert error(grams([weight[0, 0] for weight in found]), grams(weights)) < 32 * EPS
    assert error(grams([weight[2, 0] for weight in found]), grams(weights)) > 0.1


def test_one_time_is_one_pair_of_weights_in_double_precision_down_to_a_single_neuron():
    start = np.full((1, 1), 0.125, np.float32)
    first, second = matrix_flow((start, -start), np.full((1, 1), -2, np.int8), 0.5)
    assert first.shape == second.shape == (1, 1) and first.dtype == second.dtype == np.float64
    np.testing.assert_allclose(second @ first, -2 / (1 + 127 * np.exp(-4)), rtol=16 * EPS)  # theory 1.1


def best_of_rank(target, rank, threshold=0.0):
    left, strengths, right = np.linalg.svd(target, full_matrices=False)
    kept = np.where(np.arange(len(strengths)) < rank, np.maximum(strengths - threshold, 0), 0)
    return (left * kept) @ right


@pytest.mark.sampled(4)
@pytest.mark.parametrize("scale", [0.5, 1e-6])
@pytest.mark.parametrize("decay", [0.0, 0.8])
@pytest.mark.parametrize("shape", [NARROW, BETWEEN, WIDE], ids=str)
def test_in_the_end_the_network_is_the_best_of_its_rank_soft_thresholded_by_half_the_decay(shape, decay, scale):
    target = targets(shape, [2.0, 1.0, 0.3], 1)
    first, second = matrix_flow(starts(shape, scale, 0.0, 1), target, np.asarray([0.0, 0.0, 1e6]), decay)
    expected = best_of_rank(target, shape[1], decay / 2)
    np.testing.assert_allclose(second[-1] @ first[-1], expected, rtol=0, atol=16 * EPS)


def test_in_the_end_a_balance_ends_at_the_target_too():
    target = targets(BETWEEN, [2.0, 1.0], 1)
    for balance in (0.7, 1e-3, 1e3):
        weights = starts(BETWEEN, 1e-6, balance, 1)
        first, second = matrix_flow(weights, target, np.asarray([0.0, 0.0, 1e12]))
        np.testing.assert_allclose(second[-1] @ first[-1], target, rtol=0, atol=16 * EPS * max(1, balance))


@pytest.mark.parametrize(
    ("scale", "time"), [(1e-12, 7.0), (1e-12, 30.0), (1e-3, 30.0), (1e-100, 110.0), (1e-200, 240.0)]
)
def test_three_modes_have_all_digits_at_small_scales(scale, time):
    weights = tuple(scale * weight for weight in facing(starts((3, 3, 3), 1.0, 0.0, 3), SKEW))
    expected = naive(weights, SKEW, time, int(60 - 2 * np.log10(scale) + 2 * 2.3 * 2 * time * 2 / np.log(10)))
    # A mode before it is learned is e^(2 sigma t) times its start, whose exponent is rounded: to 2.3 * 2 * time * EPS.
    assert error(grams(matrix_flow(weights, SKEW, time)), expected) < EPS * (64 + 16 * time)


@pytest.mark.parametrize(("shape", "balance", "decay"), [(BETWEEN, 0.7, 0.0), (NARROW, -1.3, 0.0), (NARROW, 0.0, 0.4)])
def test_a_balance_or_decay_has_all_digits_at_small_scales(shape, balance, decay):
    target, weights = targets(shape, [2.0, 0.5], 5), starts(shape, 1e-12, balance, 5)
    times = [0.1, 3.0, 40.0]
    found = matrix_flow(weights, target, times, decay)
    for index, time in enumerate(times):
        expected = naive(weights, target, time, 400, decay)
        assert error(grams([weight[index] for weight in found]), expected) < EPS * (64 + 16 * time)  # as above


def test_weights_whose_squares_underflow_flow_as_larger_ones_do():
    # Far below the target the flow is linear: e^(2 sigma t) times the start, at any scale.
    weights = starts((3, 3, 3), 1.0, 0.0, 3)
    tiny, small = (
        grams([weight / scale for weight in matrix_flow(tuple(scale * w for w in weights), SKEW, 7.0)])
        for scale in (1e-200, 1e-100)
    )
    assert error(tiny, small) < EPS * (64 + 16 * 7)  # as above


def test_ten_thousand_times_the_time_of_a_mode_from_a_scale_of_a_trillionth_has_all_digits():
    # sigma t = 1e4: e^(2 sigma t) has 17,372 digits before the point in P alone. The modes are parted by 1e-3, so that
    # the second one is on its way at the end of the first 1e-3 of the time.
    target = np.asarray([[0.8, 0.6], [-0.6, 0.8]]) @ np.diag([1.0, 2.0**-10])
    weights = facing(starts((2, 2, 2), 1e-12, 0.0, 7), target)
    assert error(grams(matrix_flow(weights, target, 1e4)), naive(weights, target, 1e4, 17_600)) < 1e-12


def test_absolute_errors_are_rounding_of_the_weights_however_small_the_product():
    # With a balance one layer is of size sqrt(l) while P is as small as the time: P then has the absolute error that
    # rounding the start has, EPS ||Q||^2, which no solver that holds W_1 and W_2 in float64 is below.
    for balance, scale, time in ((0.7, 1e-12, 1e-8), (50.0, 1e-6, 1e-8), (1e4, 1e-12, 1e-10)):
        weights, target = starts(BETWEEN, scale, balance, 0), targets(BETWEEN, [1.0, 0.5], 0)
        found = grams([weight[-1] for weight in matrix_flow(weights, target, [0.0, 0.0, time])])
        expected = naive(weights, target, time, 60)
        size = np.max(np.abs(expected[2]))
        assert np.max(np.abs(expected[0])) < 1e-5 * size
        for ours, theirs in zip(found, expected, strict=True):
            assert np.max(np.abs(ours - theirs)) < 32 * EPS * size


def test_a_square_network_whose_determinant_has_the_other_sign_never_learns_the_last_mode():
    # P stays W_2 W_2^T up to one rotation, of determinant of one sign. In bases that float64 represents exactly nothing
    # is left to grow; elsewhere rounding escapes from the saddle after t = ln(1/EPS) / (2 sigma).
    weights = np.diag([0.25, 0.125]), np.diag([0.25, -0.125])
    for time in (5.0, 50.0, 1e4):
        first, second = matrix_flow(weights, np.diag([2.0, 1.0]), time)
        gone = -0.015625 / ((1 + 0.015625) * np.exp(4 * min(time, 150.0)) - 0.015625)  # 1.1 with the sign reversed
        np.testing.assert_allclose(np.diag(second @ first), [2.0, gone], rtol=1e-11, atol=1e-250)


def test_an_exact_reversal_is_never_left_in_exact_bases():
    first, second = matrix_flow((0.1 * np.eye(2), -0.1 * np.eye(2)), 2 * np.eye(2), [1.0, 12.0, 1e3])
    assert np.all(second @ first <= 0)
    np.testing.assert_allclose(second[1:] @ first[1:], 0, atol=1e-20)


def test_directions_and_rates_are_eigenpairs_of_the_matrix_of_the_flow_for_strengths_of_either_sign():
    rng = np.random.default_rng(0)
    left, right, strengths = random_basis(3, rng), random_basis(2, rng), np.asarray([1.5, -0.7])
    target = (left[:, :2] * strengths) @ right.T
    for balance in (0.0, 0.7, -1.3):
        driver = np.block([[-balance / 2 * np.eye(2), target.T], [target, balance / 2 * np.eye(3)]])
        modes = spectrum(*map(jnp.asarray, (left, strengths, right, balance)))
        rates, unit = np.asarray(modes.rates), np.asarray(into_eigenbasis(modes, jnp.eye(5))).T
        np.testing.assert_allclose(out_of_eigenbasis(modes, jnp.eye(5)), unit, rtol=0, atol=16 * EPS)
        np.testing.assert_allclose(unit.T @ driver @ unit, np.diag(rates), rtol=0, atol=16 * EPS)
        np.testing.assert_allclose(unit.T @ unit, np.eye(5), rtol=0, atol=16 * EPS)


def test_lanes_whose_rows_are_nearly_made_of_faster_ones_are_done_again_row_by_row():
    """16 hidden units: pivots chosen at once are enough for rows that point anywhere, not for two that are parallel."""
    rng, sides = np.random.default_rng(0), 16
    modes = spectrum(jnp.eye(sides), jnp.linspace(2.0, 1.0, sides), jnp.eye(sides), jnp.asarray(0.0))
    plain, parallel = rng.standard_normal((2, 2 * sides, sides))
    parallel[1] = parallel[0] * (1 + 1e-9 * rng.standard_normal(sides))
    starts = jnp.stack([out_of_eigenbasis(modes, jnp.asarray(rows)) for rows in (plain, parallel)])
    time, none = jnp.asarray(2.0), jnp.asarray(0.0)

    def flow(triangular, start):
        return factor_flow_by(triangular, modes, start, time, none)

    enough = [bool(flow(in_order, start)[1]) for start in starts]
    assert enough == [True, False]
    many = jax.vmap(factor_flow, in_axes=(None, 0, None, None))(modes, starts, time, none)
    for start, later in zip(starts, many, strict=True):
        one, exact = factor_flow(modes, start, time, none), flow(by_remainder, start)[0]
        for factor in (later, one):
            np.testing.assert_allclose(factor @ factor.T, exact @ exact.T, rtol=0, atol=1e-13)


OFF = (np.eye(2), np.asarray([[1.0, 0.0], [0.0, 1.1]]))
LAZY = (np.eye(2), np.sqrt(1.7) * np.eye(2))
REFUSED = {
    r"weights: got balance off by 3.*e-02; allowed: W_2\^T W_2 - W_1 W_1\^T = l I up to 1e-12": (OFF, np.eye(2), 1.0),
    r"weights: got W_1 \(3, 2\), W_2 \(2, 2\), .* shapes that chain": ((np.ones((3, 2)), OFF[1]), np.eye(2), 1.0),
    r"weights: got .* A \(2, 3\); allowed: shapes that chain": (LAZY, np.ones((2, 3)), 1.0),
    r"times: got complex128 \(1,\); allowed: finite numbers >= 0": (LAZY, np.eye(2), np.asarray([1j])),
    "times: got 'one'": (LAZY, np.eye(2), "one"),
    "times: got .*nan.*; allowed: finite numbers >= 0": (LAZY, np.eye(2), [0.0, np.nan]),
    "times: got .*inf": (LAZY, np.eye(2), np.inf),
    "times: got .*-1.0": (LAZY, np.eye(2), [[1.0, -1.0]]),
    "W_1: got nan; allowed: a matrix of finite numbers": ((np.full((2, 2), np.nan), np.eye(2)), np.eye(2), 1.0),
    "W_2: got inf": ((np.eye(2), np.full((2, 2), np.inf)), np.eye(2), 1.0),
    "A: got nan": (LAZY, np.full((2, 2), np.nan), 1.0),
    "A: got complex128 ": (LAZY, 1j * np.eye(2), 1.0),
    r"W_1: got \[1, 1\]; allowed: a matrix of finite numbers": ((np.ones(2), np.eye(2)), np.eye(2), 1.0),
    "weight_decay: got 0.1 with l = 0.7; allowed: 0 unless .* decay does not conserve": (LAZY, np.eye(2), 1.0, 0.1),
    "weight_decay: got -0.1; allowed: a finite number >= 0": (LAZY, np.eye(2), 1.0, -0.1),
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_input_is_one_line_that_names_the_quantity_and_its_value(message):
    with pytest.raises(InvalidInput, match=message) as caught:
        matrix_flow(*REFUSED[message])
    assert "\n" not in str(caught.value)
