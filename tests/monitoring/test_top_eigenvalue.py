"""The largest eigenvalue, of matrices whose spectra are known, and of blocks of a Hessian that is formed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from linsim.errors import InvalidInput
from linsim.monitoring.measuring import MEASURES, Monitor
from linsim.monitoring.predictive import SQUARED_ERROR, Predictive
from linsim.monitoring.top_eigenvalue import begun, extended, top_eigenvalue

SIZE, TOLERANCE = 120, 1e-3
TOO_FAR = 4.5  # standard errors: one in 150,000 for a right estimator


def spectra():
    rng = np.random.default_rng(0)
    yield "spread evenly", np.linspace(0, 1, SIZE)
    yield "one alone", np.append(rng.uniform(0, 0.1, SIZE - 1), 3)
    yield "the most negative is ten times larger", np.append(-10, rng.uniform(-1, 1, SIZE - 1))
    yield "all negative", -rng.uniform(0.5, 2, SIZE)
    yield "a few decades", np.logspace(-6, 0, SIZE)
    yield "the top twice", np.append(rng.uniform(0, 0.9, SIZE - 2), [1, 1])
    yield "rank one", np.append(np.zeros(SIZE - 1), 2)
    yield "a multiple of the identity", np.full(SIZE, 0.7)
    yield "nothing", np.zeros(SIZE)
    yield "tiny", 1e-25 * np.linspace(0, 1, SIZE)
    yield "huge", 1e25 * np.linspace(0, 1, SIZE)


SPECTRA = dict(spectra())
STEP = jax.jit(lambda matrix, carry, weight: extended(lambda vector: (matrix @ vector, None), carry, weight))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", SPECTRA)
def test_the_largest_eigenvalue_is_within_its_tolerance(kind, dtype):
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0]
    matrix = jnp.asarray((basis * SPECTRA[kind]) @ basis.T, dtype)
    start = begun(rng.standard_normal(SIZE).astype(dtype))
    found = top_eigenvalue(lambda carry, weight: STEP(matrix, carry, weight), start, TOLERANCE, 500)
    top, size = SPECTRA[kind].max(), np.abs(SPECTRA[kind]).max()
    rounding = 32 * np.finfo(dtype).eps * 3 * size  # T's Gershgorin size is at most 3 |H|
    assert found.error <= TOLERANCE * abs(top) + rounding
    assert abs(found.value - top) <= found.error + rounding
    carry = start
    for weight in found.weights:
        carry, _ = STEP(matrix, carry, float(weight))
    vector = np.asarray(carry.gathered, np.float64)
    residual = np.linalg.norm(np.asarray(matrix, np.float64) @ vector - found.value * vector) / np.linalg.norm(vector)
    assert residual <= found.error + rounding


def test_too_few_products_are_owned_up_to():
    matrix = jnp.diag(jnp.linspace(0, 1, SIZE))
    start = begun(np.random.default_rng(1).standard_normal(SIZE))
    found = top_eigenvalue(lambda carry, weight: STEP(matrix, carry, weight), start, 1e-6, 12)
    assert len(found.weights) == 12 and 1e-3 < 1 - found.value <= found.error


def outputs(params, inputs):
    """Two layers kept in a list, then two that are stacked, and an adapter beside the last."""
    for layer in params["layers"]:
        inputs = jnp.tanh(inputs @ layer["w"] + layer["b"][None])
    for stacked in params["stack"]["w"]:
        inputs = jnp.tanh(inputs @ stacked)
    return inputs @ (params["head"] + params["lora_a"] @ params["lora_b"])


def parts(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"layers": [{"w": (3, 3), "b": (3,)}] * 2, "stack": {"w": (2, 3, 3)}, "head": (3, 2), "lora_a": (3, 1)}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape)),
        shapes | {"lora_b": (1, 2)},
        is_leaf=lambda node: isinstance(node, tuple),
    )


LOSS, PARAMS = Predictive(outputs, SQUARED_ERROR), parts()
BATCHES = [tuple(jnp.asarray(np.random.default_rng(k).standard_normal((8, d))) for d in (3, 2)) for k in (1, 2)]
LAYERS = {
    "layers.0": ("layers.0.b", "layers.0.w"),
    "layers.1": ("layers.1.b", "layers.1.w"),
    **{name: (name,) for name in ("head", "lora_a", "lora_b")},
}


def where(params, chosen):
    """1 at the numbers of some arrays, of the flat vector; `stack[k]` is a slice."""
    marks = jax.tree.map(jnp.zeros_like, params)
    for name in chosen:
        if name.startswith("stack["):
            marks["stack"]["w"] = marks["stack"]["w"].at[int(name[6])].set(1.0)
        elif name.startswith("layers."):
            _, number, array = name.split(".")
            marks["layers"][int(number)][array] += 1
        else:
            marks[name] += 1
    return np.asarray(ravel_pytree(marks)[0]).astype(bool)


@pytest.fixture(scope="module")
def dense():
    """Jacobians, Hessian and gradients over all parameters, of both batches."""
    flat, unravel = ravel_pytree(PARAMS)
    hessian = jax.jit(jax.hessian(lambda vector, batch: LOSS(unravel(vector), batch)))
    jacobian = jax.jit(jax.jacobian(lambda vector, batch: outputs(unravel(vector), batch[0])))
    gradient = jax.jit(jax.grad(lambda vector, batch: LOSS(unravel(vector), batch)))
    each = [tuple(np.asarray(take(flat, batch)) for take in (hessian, jacobian, gradient)) for batch in BATCHES]
    return [np.stack(kind) for kind in zip(*each, strict=True)]


def truth(dense, marks):
    hessians, jacobians, gradients = dense
    block = hessians.mean(axis=0)[np.ix_(marks, marks)]
    return {
        "fisher": np.mean(np.sum(jacobians[..., marks] ** 2, axis=(2, 3))),  # of Gaussians of unit variance
        "hessian_trace": np.trace(block),
        "gradient_square": np.mean(np.sum(gradients[:, marks] ** 2, axis=1)),
        "top_eigenvalue": np.linalg.eigvalsh(block)[-1],
    }


def test_every_layer_is_its_own_block_and_slices_of_a_stack_are_layers(dense):
    names = ("fisher", "hessian_trace", "gradient_square", "top_eigenvalue")
    monitor = Monitor(LOSS, names, probes=400, by_layer=True, stacked="stack.w", tolerance=1e-6)
    reading = monitor.measure(PARAMS, BATCHES[:1], jax.random.key(0))
    layers = LAYERS | {"stack[0]": ("stack[0]",), "stack[1]": ("stack[1]",)}
    assert set(reading) == {"loss", *names, *(f"{name}@{layer}" for name in names for layer in layers)}
    for layer, arrays in layers.items():
        for name, exact in truth([each[:1] for each in dense], where(PARAMS, arrays)).items():
            mean, error = reading[f"{name}@{layer}"]
            assert abs(mean - exact) <= TOO_FAR * error + 1e-9 * reading[name].mean, (name, layer)
    for name in names[:3]:
        total = sum(reading[f"{name}@{layer}"].mean for layer in layers)
        np.testing.assert_allclose(total, reading[name].mean, rtol=1e-9)


def test_frozen_kernels_beside_an_adapter_do_not_count(dense):
    frozen = PARAMS | {"steps": jnp.asarray(3)}  # held, so of any kind
    reading = Monitor(LOSS, ("gradient_square", "top_eigenvalue"), params="lora_[ab]", tolerance=1e-6).measure(
        frozen, BATCHES, jax.random.key(0)
    )
    for name, exact in truth(dense, where(PARAMS, ("lora_a", "lora_b"))).items():
        if name in reading:
            np.testing.assert_allclose(reading[name].mean, exact, rtol=1e-6)


def test_noise_on_a_layer_alone_is_noise_on_that_layer():
    def loss(params, batch):  # so that what noise costs is a sum over layers
        return jnp.sum(params["a"] ** 2) + 3 * jnp.sum(params["b"] ** 2) + 0 * jnp.sum(batch)

    params = {"a": jnp.ones(5), "b": jnp.ones(5)}
    monitor = Monitor(loss, ("noise_increase",), probes=200, relative=False, by_layer=True)
    reading = monitor.measure(params, [jnp.ones((2, 1))], jax.random.key(0))
    for layer, scale in (("a", 1), ("b", 3)):
        mean, error = reading[f"noise_increase@{layer}"]
        assert abs(mean - scale * 5 * 0.01**2) < TOO_FAR * error
    total = reading["noise_increase@a"].mean + reading["noise_increase@b"].mean
    np.testing.assert_allclose(total, reading["noise_increase"].mean, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"params": "layer"},
            "params: got layer; allowed: a regular expression for whole levels of names, one of head",
        ),
        ({"params": "("}, r"params: got \(; allowed: a regular expression \("),
        ({"by_layer": True, "stacked": "nothing"}, "stacked: got nothing"),
        ({"stacked": "stack"}, "stacked: got stack; allowed: empty, unless by_layer is set"),
        ({"tolerance": 0.0}, r"tolerance: got 0\.0"),
    ],
)
def test_what_chooses_nothing_is_refused(changes, said):
    with pytest.raises(InvalidInput, match=said):
        Monitor(LOSS, MEASURES[:1], **changes).measure(PARAMS, BATCHES, jax.random.key(0))


def test_statistics_of_batches_that_pytorch_keeps_are_held():
    def loss(params, batch):
        return jnp.sum((batch - params["running_mean"][None]) ** 2) * params["scale"]

    params = {"scale": jnp.ones(()), "running_mean": jnp.full(2, 0.5)}
    reading = Monitor(loss, ("gradient_square",), probes=2).measure(params, [jnp.ones((4, 2))], jax.random.key(0))
    assert reading["gradient_square"].mean == pytest.approx(4.0)  # (8 x 0.5^2)^2, of the scale alone
