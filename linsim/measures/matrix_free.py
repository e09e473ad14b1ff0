"""Curvature too large to write down: traces, extreme eigenvalues and spectral densities from products H v alone.

H is any symmetric linear map of a tree of real floating arrays, such as the parameters of a model, to a tree of the
same shapes; n counts the numbers in it. Each result comes with its error. Everything compiles inside `jax.jit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from matfree.decomp import tridiag_sym

from linsim.errors import require, require_integer, require_number
from linsim.losses import Scalar, matmul
from linsim.measures.estimates import Estimate, from_samples

Product = Callable[[Any], Any]
"""v -> H v, from a tree to a tree of the same shapes."""

Vector = Float[Array, " n"]


class Operator(NamedTuple):
    """H on flat vectors, in float32 or better."""

    apply: Callable[[Vector], Vector]
    normal: Callable[[PRNGKeyArray, int], Float[Array, "count n"]]
    as_tree: Callable[[Vector], Any]
    size: int


class Eigenvalues(NamedTuple):
    """Both ends of a spectrum; NaN for what the Krylov space does not hold."""

    values: Float[Array, " count"]
    """The largest eigenvalues, decreasing."""
    errors: Float[Array, " count"]
    """||H v - value v|| for the unit vector v: H has an eigenvalue no further than this from the value."""
    vectors: Any
    """The orthonormal Ritz vectors v, a tree like the parameters with a leading axis of length count."""
    lowest: Scalar
    """The smallest eigenvalue: most negative at a saddle."""
    lowest_error: Scalar
    """The same bound for it."""


class Density(NamedTuple):
    """A spectral density: the share of eigenvalues at each point of the grid, per unit of eigenvalue."""

    values: Float[Array, " grid"]
    """Unbiased up to the quadrature; integrates to 1, times n to the number of eigenvalues."""
    errors: Float[Array, " grid"]
    """Standard errors from the choice of start vectors; points of one grid are correlated."""


def trace(matvec: Product, like: Any, key: PRNGKeyArray, samples: int) -> Estimate:
    """tr H = tr(Q^T H Q) + tr(B), B = (I - Q Q^T) H (I - Q Q^T): the first exact, the second estimated.

    Q spans H times k = min(samples, n) normal vectors, so it holds the large eigenvalues. The second term is the mean
    of z^T H z over `samples` fresh z on the sphere of radius sqrt(d), d = n - k, orthogonal to Q. Given Q these are
    independent and unbiased with variance 2 d (||B||_F^2 - tr(B)^2 / d) / (d + 2) each: 0 where H has rank k or less,
    or is a multiple of I. The standard error is theirs; divided by it, the deviation is about Student's t with
    samples - 1 degrees of freedom. Cost: 3 samples products, memory 2 samples n.

    Args:
      matvec: v -> H v.
      like: a tree of the shapes that H acts on; its values are not read.
      key: of the random vectors.
      samples: >= 2.

    Raises:
      InvalidInput: fewer than two samples, leaves that are not real floating numbers.

    Source: Meyer et al. 2021 (Hutch++), with the sphere of Epperly et al. 2024. Their XTrace needs fewer products, but
    its estimates share Q, and their scatter understates the error.
    """
    require_integer("samples", samples, at_least=2)
    operator = flattened(matvec, like)
    sketch = min(samples, operator.size)
    for_sketch, for_probes = jax.random.split(key)
    image = jax.lax.map(operator.apply, operator.normal(for_sketch, sketch))
    scale = scale_of(image)
    basis = jnp.linalg.qr(image.T / scale)[0].T
    known = jnp.sum(basis * jax.lax.map(operator.apply, basis)) / scale
    free = operator.size - sketch
    if free == 0:
        return Estimate(scale * known, jnp.zeros_like(known))

    def probed(probe: Vector) -> Scalar:
        for _ in range(2):  # once leaves a rounding of the probe, twice one of what is orthogonal
            probe = probe - matmul(matmul(basis, probe[:, None]).T, basis)[0]
        probe = probe * jnp.sqrt(free / jnp.sum(probe**2))
        return jnp.sum(probe * operator.apply(probe) / scale)

    rest = from_samples(jax.lax.map(probed, operator.normal(for_probes, samples)))
    return Estimate(scale * (known + rest.mean), scale * rest.error)


def top_eigenvalues(matvec: Product, like: Any, key: PRNGKeyArray, count: int, steps: int) -> Eigenvalues:
    """The `count` largest eigenvalues and the smallest, by Lanczos with full reorthogonalisation.

    Within the Krylov space of a random start, V^T H V = T; a value is an eigenvalue of T, its vector v = V s, and its
    error ||H v - value v|| (in exact arithmetic |beta s_last|), a bound that holds to the rounding of one product. The
    largest value approaches the top from below. No bound tells that none was missed: a repeated eigenvalue may count
    once. A space that ends early, as it does for low rank, is used up to its end, and values beyond are NaN.
    Cost: steps + count + 2 products, memory steps n.

    Args:
      matvec: v -> H v.
      like: a tree of the shapes that H acts on; its values are not read.
      key: of the start.
      count: 1 <= count <= min(steps, n).
      steps: dimension of the Krylov space >= 1; no more than n are taken.

    Raises:
      InvalidInput: a count or steps outside its range, leaves that are not real floating numbers.

    Source: Lanczos 1950; the bound in Parlett 1998.
    """
    require_integer("steps", steps, at_least=1)
    operator = flattened(matvec, like)
    require_integer("count", count, at_least=1, at_most=min(steps, operator.size))
    start = operator.normal(key, 1)[0]
    scale = scale_of(operator.apply(start))

    def scaled(vector: Vector) -> Vector:
        return operator.apply(vector) / scale

    nodes, weights, basis, used = _krylov(scaled, start, min(steps, operator.size))
    first = used.size - jnp.sum(used)  # the unused come first
    chosen = jnp.concatenate([used.size - 1 - jnp.arange(count), first[None]])
    values = jnp.where(chosen >= first, nodes[chosen], jnp.nan)
    vectors = matmul(weights[:, chosen].T, basis)
    vectors = vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = jnp.where(chosen[:, None] >= first, vectors, jnp.nan)
    errors = jnp.linalg.norm(jax.lax.map(scaled, vectors) - values[:, None] * vectors, axis=1)
    values, errors = scale * values, scale * errors
    return Eigenvalues(values[:-1], errors[:-1], jax.vmap(operator.as_tree)(vectors[:-1]), values[-1], errors[-1])


def density(
    matvec: Product,
    like: Any,
    key: PRNGKeyArray,
    steps: int,
    samples: int,
    grid: Float[Array | np.ndarray, " grid"],
    width: float,
) -> Density:
    """(1/n) sum_i N(x; lambda_i, width^2), the broadened density of eigenvalues, by stochastic Lanczos quadrature.

    A start z, uniform on the sphere, gives the Gauss quadrature sum_k s_{1k}^2 N(x; theta_k, width^2) of
    z^T f(H) z / n, whose mean over z is the density. Errors count the starts only. The quadrature adds less than
    1e-3 of the peak, 1 / (sqrt(2 pi) width), once steps exceed twice (range of the spectrum) / width, and usually much
    earlier. Cost: samples (steps + 1) products, one start after another: memory steps n.

    Args:
      matvec: v -> H v.
      like: a tree of the shapes that H acts on; its values are not read.
      key: of the starts.
      steps: dimension of each Krylov space >= 1; no more than n are taken.
      samples: number of starts >= 2.
      grid: points x, in units of the eigenvalues.
      width: standard deviation of the broadening > 0, in the same unit.

    Raises:
      InvalidInput: steps, samples or width outside their range, leaves that are not real floating numbers.

    Source: as restated in Ghorbani et al. 2019.
    """
    require_integer("steps", steps, at_least=1)
    require_integer("samples", samples, at_least=2)
    require_number("width", width, above=0)
    operator = flattened(matvec, like)

    def from_start(start: Vector) -> Float[Array, " grid"]:
        scale = scale_of(operator.apply(start))
        nodes, weights, _, _ = _krylov(lambda vector: operator.apply(vector) / scale, start, min(steps, operator.size))
        peaks = norm.pdf((jnp.asarray(grid, nodes.dtype)[:, None] - scale * nodes[None]) / width) / width
        return jnp.sum(weights[:1] ** 2 * peaks, axis=1)

    drawn = jax.lax.map(from_start, operator.normal(key, samples))
    return Density(*jax.vmap(from_samples, in_axes=1)(drawn))


def curvature_along(matvec: Product, direction: Any) -> Scalar:
    """v^T H v / v^T v: the curvature along a direction of any length, such as a displacement. NaN for v = 0."""
    vector = ravel_pytree(direction)[0]
    vector = vector / jnp.max(jnp.abs(vector))  # so that no square overflows or is lost
    operator = flattened(matvec, direction)
    return jnp.sum(vector * operator.apply(vector)) / jnp.sum(vector**2)


def _krylov(
    apply: Callable[[Vector], Vector], start: Vector, steps: int
) -> tuple[Float[Array, " k"], Float[Array, "k k"], Float[Array, "k n"], Bool[Array, " k"]]:
    """Eigenvalues of T in increasing order, its eigenvectors, the basis V, and which of its rows are used.

    Where the space ends, the next basis vector is 0/0, or rounding divided by its length. The latter is a fresh random
    start if it is orthogonal to the others, and noise if not. So the basis is used up to the first vector that is not:
    to sqrt(eps), with which T is still V^T H V to eps (Simon 1984). Unused rows get an eigenvalue below all others.
    """
    basis, diagonal, coupling, used = _tridiagonal(apply, start, steps)
    bound = jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(jnp.abs(coupling), initial=0)  # Gershgorin
    diagonal = jnp.where(used, diagonal, -2 * bound - 1)
    nodes, weights = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(coupling, 1) + jnp.diag(coupling, -1))
    return nodes, weights, jnp.where(used[:, None], basis, 0), used


def _tridiagonal(
    apply: Callable[[Vector], Vector], start: Vector, steps: int
) -> tuple[Float[Array, "k n"], Float[Array, " k"], Float[Array, " _"], Bool[Array, " k"]]:
    """The basis V, T as its diagonal and the one beside it, and which rows are used: 0 in T where they are not."""
    with jax.default_matmul_precision("highest"):
        basis, (diagonal, coupling), *_ = tridiag_sym(steps, materialize=False, custom_vjp=False)(apply, start)
    overlap = jnp.tril(matmul(basis, basis.T) - jnp.eye(steps, dtype=basis.dtype))  # each vector with those before it
    orthonormal = jnp.all(jnp.abs(overlap) <= np.sqrt(np.finfo(basis.dtype).eps), axis=1)  # not so for NaN
    used = jnp.cumprod(orthonormal).astype(bool)
    return basis, jnp.where(used, diagonal, 0), jnp.where(used[1:], coupling, 0), used


def flattened(matvec: Product, like: Any) -> Operator:
    """H on the numbers of a tree as one vector; `InvalidInput` for leaves that are not real floating numbers."""
    for leaf in jax.tree.leaves(like):
        kind = jnp.result_type(leaf)
        require(jnp.issubdtype(kind, jnp.floating), "like", f"a leaf of {kind}", "real floating numbers")
    vector, unravel = ravel_pytree(like)
    require(vector.size > 0, "like", like, "a tree with at least one number")
    kind = jnp.promote_types(vector.dtype, jnp.float32)

    def as_tree(flat: Vector) -> Any:
        return unravel(flat.astype(vector.dtype))

    def apply(flat: Vector) -> Vector:
        return ravel_pytree(matvec(as_tree(flat)))[0].astype(kind)

    def normal(key: PRNGKeyArray, count: int) -> Float[Array, "count n"]:
        return jax.random.normal(key, (count, vector.size), kind)

    return Operator(apply, normal, as_tree, vector.size)


def scale_of(image: Float[Array, "..."]) -> Scalar:
    """The largest entry: without it squares of small curvatures would be lost, those of large ones overflow."""
    largest = jnp.max(jnp.abs(image))
    return jnp.where(largest > 0, largest, 1)
