"""Monitors where the truth is known: linear networks in closed form, small models by dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

from linsim.errors import InvalidInput
from linsim.losses import draw_batch
from linsim.measures.curvature import (
    empirical_fisher_trace,
    fisher_trace,
    gradient_square,
    loss_hessian,
    trace_of_curvature,
)
from linsim.measures.sensitivity import expected_increase
from linsim.monitoring.measuring import MEASURES, Monitor
from linsim.monitoring.predictive import CROSS_ENTROPY, SQUARED_ERROR, Predictive
from linsim.network import LinearNetwork, gaussian

TOO_FAR = 4.5  # standard errors: one in 150,000 for a right estimator
CLOSED = ("fisher", "gauss_newton", "empirical_fisher", "hessian_trace", "noise_increase")
NOISE, LABEL_NOISE = 0.05, 0.5


def linear(depth, d_in=5, d_out=3, hidden=4):
    widths = (d_in, *[hidden] * (depth - 1), d_out)
    return gaussian(widths, 0.6 * np.sqrt(hidden), jax.random.key(depth))


def apply(weights, inputs):
    for weight in weights:
        inputs = inputs @ weight.T
    return inputs


LINEAR = Predictive(apply, SQUARED_ERROR)
TARGET = jax.random.normal(jax.random.key(7), (3, 5))
COVARIANCE = jnp.diag(jnp.asarray([2.0, 1.5, 1.0, 0.5, 0.1]))


DRAW = jax.jit(draw_batch, static_argnums=4)


def fresh_batches(covariance, count, size=64):
    root = None if covariance is None else jnp.sqrt(covariance)
    for key in jax.random.split(jax.random.key(3), count):
        yield DRAW(key, TARGET, root, jnp.asarray(LABEL_NOISE), size)


def truth(weights, covariance):
    fisher = fisher_trace(weights, covariance)
    return {
        "fisher": fisher,
        "gauss_newton": 2 * fisher,
        "empirical_fisher": empirical_fisher_trace(weights, TARGET, covariance, LABEL_NOISE),
        "hessian_trace": trace_of_curvature(weights, covariance),
        "noise_increase": expected_increase(weights, NOISE, covariance),
    }


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("depth", "coloured"), [(1, False), (2, True), (3, True)])
def test_linear_networks_read_as_the_closed_forms_say(depth, coloured):
    weights, covariance = linear(depth), COVARIANCE if coloured else None
    monitor = Monitor(LINEAR, CLOSED, probes=4, noise=NOISE, relative=False)
    reading = monitor.measure(weights, fresh_batches(covariance, 150), jax.random.key(0))
    for name, exact in truth(weights, covariance).items():
        estimate = reading[name]
        assert abs(estimate.mean - exact) < TOO_FAR * estimate.error, name
        assert estimate.error < 0.1 * exact, name


def test_the_errors_are_as_large_as_they_say():
    weights, exact, inside = linear(2), truth(linear(2), None), dict.fromkeys(CLOSED, 0)
    monitor, repeats = Monitor(LINEAR, CLOSED, probes=2, noise=NOISE, relative=False), 100
    batches = list(fresh_batches(None, 12 * repeats, size=32))
    for repeat in range(repeats):
        part = batches[12 * repeat : 12 * (repeat + 1)]
        reading = monitor.measure(weights, part, jax.random.key(repeat))
        for name in CLOSED:
            inside[name] += abs(reading[name].mean - exact[name]) < 2.2 * reading[name].error
    # Student's t with 11 degrees of freedom is within 2.2 for 95 %; these samples are skewed, which costs a few.
    assert all(85 <= count <= 100 for count in inside.values()), inside


def test_the_gradient_square_of_a_batch_carries_the_scatter_of_its_examples():
    weights, size = linear(2), 16
    monitor = Monitor(LINEAR, ("gradient_square",))
    reading = monitor.measure(weights, fresh_batches(None, 400, size), jax.random.key(0))["gradient_square"]
    square = gradient_square(weights, TARGET)
    single = 4 * empirical_fisher_trace(weights, TARGET, None, LABEL_NOISE)  # of gradients without the half
    assert abs(reading.mean - (square + (single - square) / size)) < TOO_FAR * reading.error
    assert reading.mean > square + TOO_FAR * reading.error


def test_the_snippet_falls_while_the_fisher_trace_rises():
    task = jnp.diag(jnp.asarray([2.0, 1.0, 0.5]))
    inputs = jax.random.normal(jax.random.key(0), (512, 3))
    monitor = Monitor(LINEAR, ("fisher", "gradient_square"), probes=64)
    early, late = (
        monitor.measure((jnp.eye(3) * scale, jnp.eye(3) * scale), [(inputs, inputs @ goal)], jax.random.key(1))
        for scale, goal in ((0.5, task), (0.99 * jnp.sqrt(task), task))
    )
    assert late["fisher"].mean - late["fisher"].error > early["fisher"].mean + early["fisher"].error
    assert late["gradient_square"].mean < early["gradient_square"].mean / 10


def classifier(params, inputs):
    return jnp.tanh(inputs @ params["inner"]) @ params["outer"]


CLASSES = Predictive(classifier, CROSS_ENTROPY)
PARAMS = {
    "inner": jax.random.normal(jax.random.key(1), (5, 4)),
    "outer": jax.random.normal(jax.random.key(2), (4, 3)),
}


def labelled(rows=24):
    inputs = jax.random.normal(jax.random.key(3), (rows, 5))
    return inputs, jax.random.randint(jax.random.key(4), (rows,), 0, 3)


FLAT, UNRAVEL = ravel_pytree(PARAMS)


@jax.jit
def derivatives(batch):
    """Of the classifier on one batch: Jacobian of its outputs (rows, classes, n), chances, Hessian of its loss."""
    jacobian = jax.jacobian(lambda vector: classifier(UNRAVEL(vector), batch[0]))(FLAT)
    hessian = jax.hessian(lambda vector: CLASSES(UNRAVEL(vector), batch))(FLAT)
    return jacobian, jax.nn.softmax(classifier(PARAMS, batch[0])), hessian


def dense_truth(batch):
    """All matrices of the classifier on one batch, formed."""
    jacobian, chances, hessian = map(np.asarray, derivatives(batch))
    targets = batch[1]
    curvature = np.stack([np.diag(p) - np.outer(p, p) for p in chances])
    kept = np.asarray(targets) >= 0
    fisher = np.einsum("kai,kab,kbi->k", jacobian, curvature, jacobian)[kept].mean()
    errors = chances - np.eye(3)[np.maximum(targets, 0)]
    single = (np.einsum("kai,ka->ki", jacobian, errors) ** 2).sum(axis=1)[kept].mean()
    return fisher, single, np.trace(hessian), np.linalg.eigvalsh(hessian)[-1]


def test_cross_entropy_reads_as_dense_matrices_say():
    inputs, targets = labelled()
    targets = jnp.where(jnp.arange(24) % 3 == 0, -1, targets)  # padding
    fisher, single, trace, top = dense_truth((inputs, targets))
    reading = Monitor(CLASSES, probes=1500, lanczos=20).measure(PARAMS, [(inputs, targets)], jax.random.key(0))
    for name, exact in (
        ("fisher", fisher),
        ("gauss_newton", fisher),
        ("empirical_fisher", single),
        ("hessian_trace", trace),
    ):
        assert abs(reading[name].mean - exact) < TOO_FAR * reading[name].error, name
    assert abs(reading["top_eigenvalue"].mean - top) <= reading["top_eigenvalue"].error + 1e-8 * top


def test_tokens_of_a_sequence_are_predictions_of_their_own():
    inputs, targets = labelled()
    flat = Monitor(CLASSES, ("fisher", "empirical_fisher"), probes=1500)
    rows = flat.measure(PARAMS, [(inputs, targets)], jax.random.key(0))
    sequences = flat.measure(PARAMS, [(inputs.reshape(6, 4, 5), targets.reshape(6, 4))], jax.random.key(1))
    assert np.isclose(rows["loss"].mean, sequences["loss"].mean)
    for name in ("fisher", "empirical_fisher"):
        gap = rows[name].mean - sequences[name].mean
        assert abs(gap) < TOO_FAR * np.hypot(rows[name].error, sequences[name].error)


def test_a_loss_without_outputs_has_all_measures_that_need_none():
    batch = labelled()
    plain = Monitor(lambda params, rows: CLASSES(params, rows), probes=1500)
    assert set(plain.measures) == set(MEASURES) - {"fisher", "gauss_newton"}
    reading = plain.measure(PARAMS, [batch], jax.random.key(0))
    _, single, trace, _ = dense_truth(batch)
    assert abs(reading["empirical_fisher"].mean - single) < TOO_FAR * reading["empirical_fisher"].error
    assert abs(reading["hessian_trace"].mean - trace) < TOO_FAR * reading["hessian_trace"].error


def test_a_flax_module_reads_as_its_weights_do():
    weights, batches = linear(2), list(fresh_batches(None, 3))
    module = LinearNetwork(weights)
    measures = ("fisher", "empirical_fisher", "noise_increase")
    of_module = Monitor(Predictive.of_module(module, SQUARED_ERROR), measures, probes=3)
    of_weights = Monitor(LINEAR, measures, probes=3)
    ours = of_module.measure(module, batches, jax.random.key(0))
    theirs = of_weights.measure(list(weights), batches, jax.random.key(0))
    for name in ours:
        np.testing.assert_allclose(ours[name].mean, theirs[name].mean, rtol=1e-9, err_msg=name)


def test_arrays_under_other_names_are_not_taken_for_those_of_the_module():
    module = LinearNetwork(gaussian((2,) * 12, 1.0, jax.random.key(0)))  # eleven layers of one shape
    loss = Predictive.of_module(module, SQUARED_ERROR)
    weights, batch = module.weights, (jnp.ones((4, 2)), jnp.ones((4, 2)))
    expected = loss(nnx.state(module, nnx.Param), batch)
    np.testing.assert_allclose(loss({"layers": dict(enumerate(weights))}, batch), expected)
    as_text = {str(layer): weight for layer, weight in enumerate(weights)}  # sorted, 10 comes before 2
    with pytest.raises(InvalidInput, match=r"params: got layers.10; allowed: layers.2, the next name in the module"):
        loss({"layers": as_text}, batch)
    with pytest.raises(InvalidInput, match="params: got no array; allowed: layers.10"):
        loss({"layers": dict(enumerate(weights[:10]))}, batch)


def test_modules_in_training_mode_are_refused():
    module = nnx.Sequential(nnx.Linear(5, 4, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    with pytest.raises(InvalidInput, match="deterministic=False; allowed: evaluation mode"):
        Predictive.of_module(module, SQUARED_ERROR)
    module.eval()
    Predictive.of_module(module, SQUARED_ERROR)
    with pytest.raises(InvalidInput, match="use_running_average=False"):
        Predictive.of_module(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), SQUARED_ERROR)


@pytest.mark.thorough("by test_cross_entropy_reads_as_dense_matrices_say, whose targets are padded")
def test_padding_is_no_part_of_any_mean():
    inputs, targets = labelled()
    padded = jnp.where((jnp.arange(24) < 12) & (jnp.arange(24) > 1), -1, targets)  # 2 of 12 count, then 12 of 12
    monitor = Monitor(CLASSES, ("fisher", "top_eigenvalue"), probes=3000, lanczos=32)
    whole = monitor.measure(PARAMS, [(inputs, padded)], jax.random.key(0))
    parts = [(inputs[:12], padded[:12]), (inputs[12:], padded[12:])]
    halves = monitor.measure(PARAMS, parts, jax.random.key(0))
    np.testing.assert_allclose(halves["loss"].mean, whole["loss"].mean, rtol=1e-12)
    np.testing.assert_allclose(
        halves["top_eigenvalue"].mean, whole["top_eigenvalue"].mean, rtol=1e-6
    )  # shares, float32
    # The error between halves is of two samples; that of the probes is what this can differ by.
    gap = halves["fisher"].mean - whole["fisher"].mean
    assert abs(gap) < TOO_FAR * np.sqrt(2) * whole["fisher"].error


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_measured_in_single(dtype):
    inputs = 30 * jax.random.normal(jax.random.key(0), (32, 8), jnp.float32)
    half = (0.1 * jax.random.normal(jax.random.key(1), (8, 3))).astype(dtype)
    loss, measures = Predictive(lambda w, x: x @ w, SQUARED_ERROR), ("fisher", "gradient_square", "noise_increase")
    rows = [(inputs, jnp.zeros((32, 3), jnp.float32))]
    ours, single = (Monitor(loss, measures).measure(w, rows, jax.random.key(0)) for w in (half, half.astype("float32")))
    for name in measures:  # the same numbers, not only near ones: squares near 1e6 overflow in float16
        assert ours[name] == single[name] and ours[name].mean > 0


def test_a_score_of_large_outputs_is_not_lost_in_them():
    loss = Predictive(lambda w, x: 1e8 * x @ w, SQUARED_ERROR)
    rows = jnp.ones((4, 2), jnp.float32), jnp.zeros((4, 3), jnp.float32)
    reading = Monitor(loss, ("fisher",), probes=200).measure(jnp.ones((2, 3), jnp.float32), [rows], jax.random.key(0))
    exact = 2 * 3 * 1e16  # sum over inputs and outputs of (1e8)^2
    assert abs(reading["fisher"].mean - exact) < TOO_FAR * reading["fisher"].error


def test_the_error_of_an_increase_knows_the_rounding_of_the_loss():
    inputs = 10 * jax.random.normal(jax.random.key(0), (64, 8), jnp.float32)
    monitor = Monitor(Predictive(lambda w, x: x @ w, SQUARED_ERROR), ("noise_increase",), 64, 1e-4, relative=False)
    weights, rows = jnp.ones((8, 3), jnp.float32), (inputs, jnp.zeros((64, 3), jnp.float32))
    reading = monitor.measure(weights, [rows], jax.random.key(1))["noise_increase"]
    exact = 1e-8 * 3 * float(jnp.mean(jnp.sum(inputs**2, axis=1)))
    assert abs(reading.mean - exact) < TOO_FAR * reading.error


def test_parameters_on_several_devices_stay_there():
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("all",))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    placed, batch = jax.device_put(PARAMS, everywhere), jax.device_put(labelled(), jax.devices()[1])
    monitor = Monitor(CLASSES, ("fisher",), probes=3)
    ours, theirs = (monitor.measure(w, [b], jax.random.key(0)) for w, b in ((placed, batch), (PARAMS, labelled())))
    np.testing.assert_allclose(ours["fisher"].mean, theirs["fisher"].mean, rtol=1e-10)


def test_a_module_keeps_its_other_state():
    module = nnx.Sequential(nnx.Linear(5, 4, rngs=nnx.Rngs(0)), nnx.BatchNorm(4, rngs=nnx.Rngs(0)))
    module.eval()
    loss = Predictive.of_module(module, SQUARED_ERROR)
    before = jax.tree.map(np.asarray, nnx.state(module, nnx.BatchStat))
    Monitor(loss, ("fisher", "hessian_trace")).measure(
        module, [(jnp.ones((6, 5)), jnp.ones((6, 4)))], jax.random.key(0)
    )
    after = nnx.state(module, nnx.BatchStat)
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.asarray, after))


def test_the_top_eigenvalue_of_several_microbatches_is_that_of_their_mean():
    weights, batches = linear(2), list(fresh_batches(COVARIANCE, 4, size=50))
    monitor = Monitor(LINEAR, ("top_eigenvalue",), lanczos=32)
    reading = monitor.measure(weights, batches, jax.random.key(0))["top_eigenvalue"]
    flat, unravel = ravel_pytree(weights)
    together = tuple(jnp.concatenate(parts) for parts in zip(*batches, strict=True))
    hessian = jax.jit(jax.hessian(lambda vector: LINEAR(unravel(vector), together)))(flat)
    top = np.linalg.eigvalsh(hessian)[-1]
    np.testing.assert_allclose(reading.mean, top, rtol=1e-9)  # 32 products span the whole space
    exact = np.linalg.eigvalsh(loss_hessian(weights, TARGET, COVARIANCE))[-1]
    assert abs(reading.mean - exact) < TOO_FAR * reading.error


def test_microbatches_count_by_their_examples():
    inputs, targets = labelled(24)
    parts = [(inputs[:20], targets[:20]), (inputs[20:], targets[20:])]
    monitor = Monitor(CLASSES, ("gradient_square",))
    together, apart = (
        monitor.measure(PARAMS, some, jax.random.key(0))["loss"] for some in ([(inputs, targets)], parts)
    )
    np.testing.assert_allclose(apart.mean, together.mean, rtol=1e-12)


def test_probes_of_one_microbatch_are_no_independent_samples_of_the_data():
    rng = np.random.default_rng(0)  # one parameter: each probe z H z with z = +-1 is H itself, 2 mean(x^2)
    batches = [(jnp.asarray(rng.standard_normal(size)[:, None]), jnp.zeros((size, 1))) for size in (2, 5, 3, 8)]
    monitor = Monitor(Predictive(lambda w, inputs: inputs * w, SQUARED_ERROR), ("hessian_trace",), probes=10)
    reading = monitor.measure(jnp.ones(()), batches, jax.random.key(0))["hessian_trace"]
    each, sizes = np.asarray([2 * float(jnp.mean(inputs**2)) for inputs, _ in batches]), np.asarray([2, 5, 3, 8])
    mean = np.sum(sizes * each) / 18
    np.testing.assert_allclose(reading.mean, mean, rtol=1e-12)
    shares = sizes / 18
    expected = np.sqrt(np.sum((shares * (each - mean)) ** 2) / (1 - np.sum(shares**2)))
    np.testing.assert_allclose(reading.error, expected, rtol=1e-12)


def test_one_batch_leaves_no_error_to_what_is_not_drawn():
    reading = Monitor(CLASSES, ("gradient_square", "fisher")).measure(PARAMS, [labelled()], jax.random.key(0))
    assert reading["loss"].error == reading["gradient_square"].error == 0
    assert reading["fisher"].error > 0


def test_the_number_of_devices_does_not_matter():
    assert len(jax.devices()) == 2
    monitor = Monitor(CLASSES, [name for name in MEASURES if name != "top_eigenvalue"], probes=3)
    spread = monitor.measure(PARAMS, [labelled()], jax.random.key(0))
    for_probes = jax.random.split(jax.random.key(0))[0]
    alone = monitor._sample(
        PARAMS, dict.fromkeys(PARAMS), labelled(), jax.random.fold_in(for_probes, 0)
    )  # all on the first
    for name, samples in alone.items():
        np.testing.assert_allclose(spread[name].mean, np.mean(samples), rtol=1e-10, err_msg=name)


def test_an_odd_batch_is_measured_on_the_devices_that_divide_it():
    reading = Monitor(CLASSES, ("fisher",), probes=3).measure(PARAMS, [labelled(7)], jax.random.key(0))
    assert all(np.isfinite(estimate.mean) for estimate in reading.values())


def test_a_second_checkpoint_compiles_nothing():
    monitor = Monitor(CLASSES, ("fisher", "top_eigenvalue"), probes=2)
    monitor.measure(PARAMS, [labelled()], jax.random.key(0))
    monitor.measure(jax.tree.map(lambda leaf: 2 * leaf, PARAMS), [labelled()], jax.random.key(5))
    assert monitor._sample._cache_size() == monitor._sharpness._step._cache_size() == 1


GOOD = (jnp.ones((4, 5)), jnp.zeros(4, int))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: Monitor(CLASSES).measure(PARAMS, [], jax.random.key(0)), "batches: got none; allowed: at least one"),
        (
            lambda: Monitor(CLASSES).measure(PARAMS, [(jnp.ones((0, 5)), jnp.zeros(0, int))], jax.random.key(0)),
            "batch[0]: got shape (0, 5); allowed: at least one example",
        ),
        (
            lambda: Monitor(CLASSES).measure(PARAMS, [(jnp.ones((4, 5)), jnp.zeros(3, int))], jax.random.key(0)),
            "batch: got shapes [(4, 5), (3,)]; allowed: the same number of examples in every array",
        ),
        (
            lambda: Monitor(CLASSES).measure({"inner": jnp.ones((5, 4), int)}, [GOOD], jax.random.key(0)),
            "params['inner']: got dtype int64; allowed: real floating-point numbers",
        ),
        (
            lambda: Monitor(lambda params, batch: batch[0].sum(axis=1)).measure(PARAMS, [GOOD], jax.random.key(0)),
            "loss: got a result of shapes [(4,)]; allowed: one scalar",
        ),
        (
            lambda: Monitor(lambda params, batch: params["inner"].sum() * jnp.nan).measure(
                PARAMS, [GOOD], jax.random.key(0)
            ),
            "loss: got nan of batch 0; allowed: a finite number",
        ),
        (
            lambda: Monitor(lambda params, batch: batch[1].sum()).measure(PARAMS, [GOOD], jax.random.key(0)),
            "loss: got dtype int64; allowed: a real floating-point number",
        ),
        (
            lambda: Monitor(lambda params, batch: 0.0, ("fisher",)),
            "measures: got fisher; allowed: empirical_fisher, hessian_trace, gradient_square, noise_increase, "
            "top_eigenvalue; fisher and gauss_newton for a `Predictive` loss",
        ),
        (lambda: Monitor(CLASSES, ("fischer",)), "measures: got fischer; allowed: fisher, gauss_newton, "),
        (lambda: Monitor(CLASSES, probes=0), "probes: got 0; allowed: an integer >= 1"),
        (lambda: Monitor(CLASSES, noise=0.0), "noise: got 0.0; allowed: a finite number > 0"),
        (
            lambda: Monitor(CLASSES, probes=1).measure(PARAMS, [GOOD], jax.random.key(0)),
            "probes: got 1; allowed: at least 2 with a single microbatch",
        ),
        (
            lambda: Monitor(CLASSES, ("top_eigenvalue",)).measure(
                PARAMS, [labelled(8), labelled(6)], jax.random.key(0)
            ),
            "batches: got shapes",
        ),
        (
            lambda: Monitor(CLASSES).measure(PARAMS, [GOOD, (GOOD[0], -jnp.ones(4, int))], jax.random.key(0)),
            "targets: got none that counts in a microbatch; allowed: at least one",
        ),
        (
            lambda: Monitor(CLASSES).measure(PARAMS, GOOD, jax.random.key(0)),
            "batch: got ArrayImpl; allowed: a pair (inputs, targets) in a list of microbatches",
        ),
        (
            lambda: Monitor(CLASSES).measure(PARAMS, [(GOOD[0], jnp.zeros(4))], jax.random.key(0)),
            "targets: got dtype float64; allowed: integers, the classes",
        ),
        (
            lambda: Monitor(LINEAR).measure(linear(1), [(jnp.ones((4, 5)), jnp.ones((4, 1)))], jax.random.key(0)),
            "targets: got shape (4, 1); allowed: shape (4, 3), as the outputs",
        ),
        (
            lambda: Monitor(Predictive(lambda w, x: (x @ w)[:, 0], SQUARED_ERROR)).measure(
                jnp.ones((5, 1)), [(jnp.ones((4, 5)), jnp.ones(4))], jax.random.key(0)
            ),
            "outputs: got shape (4,); allowed: shape (4, ..., outputs), a row an example",
        ),
        (
            lambda: Monitor(lambda p, b: jnp.sum(jnp.sqrt(p["inner"] ** 2)), ("hessian_trace",)).measure(
                {"inner": jnp.zeros(3)}, [GOOD], jax.random.key(0)
            ),
            "gradient_square: got nan of batch 0; allowed: a finite number",
        ),
        (
            lambda: Monitor(CLASSES).measure(PARAMS, [(jnp.ones((4, 5)), jnp.zeros((4, 3), int))], jax.random.key(0)),
            "targets: got shape (4, 3); allowed: one target for each of the (4, 3) outputs",
        ),
    ],
)
def test_bad_input_is_one_line(call, line):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
