"""Superposition: how much the codes of features overlap in the first hidden layer.

A feature is a direction f_i of the inputs, its code is W_1 f_i, and all that codes say of each other is

    G_ij = f_i^T W_1^T W_1 f_j,        D_i = G_ii^2 / sum_j G_ij^2,        O = 1 - sum_i G_ii^2 / sum_ij G_ij^2.

D_i is the dimensionality of a feature: 1 where its code is orthogonal to all others, 1/n where n codes are one. O is
1 - D_i averaged over the features, each with the weight sum_j G_ij^2: 0 where codes are orthogonal, and at least
(n - h)/n for n codes of one length in h units. Both stay for rotations of the hidden layer and for any scale of W_1.
[Elhage et al. 2022, where O is the mean over features of one length; Welch 1974 for the bound]
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linsim.errors import numbers, require, require_integer
from linsim.losses import Scalar, Weights, matmul, require_chain
from linsim.measure import Measure

_WIDEST = 10**5

Gram = Float[Array | np.ndarray, "features features"]
Directions = Float[Array | np.ndarray, "d_in features"]


def feature_gram(weights: Weights, features: Directions | None = None) -> Float[Array, "features features"]:
    """G_ij = f_i^T W_1^T W_1 f_j, what the codes of features have in common.

    Args:
      weights: (W_1, ..., W_L), at least two layers.
      features: f_i as columns, of which the direction alone counts; None are the inputs themselves, f_i = e_i.

    Raises:
      InvalidInput: one layer, which hides nothing; a feature without a direction, or of other inputs.
    """
    require_chain(weights)
    require(len(weights) > 1, "weights", "one layer", "at least two: the first makes the codes of features")
    first = jnp.asarray(weights[0])
    codes = (
        first if features is None else matmul(first, jnp.asarray(_directions(features, first.shape[1]), first.dtype))
    )
    return matmul(codes.T, codes)


def balanced_gram(
    product: Float[np.ndarray, "d_out d_in"], depth: int = 2, features: Directions | None = None
) -> Float[np.ndarray, "features features"]:
    """G of L balanced layers, which their product decides: f_i^T (P^T P)^(1/L) f_j.

    Args:
      product: P.
      depth: L, from 2.
      features: as those of `feature_gram`.

    Example:
      >>> balanced_gram(np.diag([4.0, 1.0])).round(6)
      array([[4., 0.],
             [0., 1.]])
    """
    product = numbers("product", product, 2, sized=True)
    require_integer("depth", depth, at_least=2, at_most=10**3)
    _, strengths, right = np.linalg.svd(product, full_matrices=False)
    along = right if features is None else right @ _directions(features, product.shape[1])
    codes = strengths[:, None] ** (1 / depth) * along
    return np.asarray(codes.T @ codes)


def dimensionality(gram: Gram) -> Float[Array, " features"]:
    """D_i = G_ii^2 / sum_j G_ij^2, from 0 to 1; 0 for a feature without a code.

    Its sum is at most the rank of G, hence the hidden width.

    Example:
      >>> np.asarray(dimensionality(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])))
      array([0.5, 0.5, 1. ])
    """
    scaled = _scaled(gram)
    squares = jnp.sum(scaled**2, axis=1)
    return jnp.where(squares > 0, jnp.diagonal(scaled) ** 2 / jnp.where(squares > 0, squares, 1), 0)


def overlap(gram: Gram) -> Scalar:
    """O = 1 - sum_i G_ii^2 / sum_ij G_ij^2, from 0 to 1; 0 where no feature has a code.

    Example:
      >>> round(float(overlap(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]]))), 6)
      0.1
    """
    scaled = _scaled(gram)
    own, all_of_them = jnp.sum(jnp.diagonal(scaled) ** 2), jnp.sum(scaled**2)
    return jnp.where(all_of_them > 0, jnp.maximum(1 - own / jnp.where(all_of_them > 0, all_of_them, 1), 0), 0)


def least_overlap(features: int, width: int) -> float:
    """max(1 - h/n, 0), below which n codes of one length in h hidden units cannot overlap. [Welch 1974]

    h rows of a basis have it where their codes are of one length, and less else. So have balanced layers that learn n
    features of equal importance.

    Example:
      >>> least_overlap(8, 2), least_overlap(8, 16)
      (0.75, 0.0)
    """
    require_integer("features", features, at_least=1, at_most=_WIDEST)
    require_integer("width", width, at_least=1, at_most=_WIDEST)
    return max(1 - width / features, 0.0)


def feature_overlap(features: Directions | None = None) -> Measure:
    """O of the features of a network; see `linsim.measures.features.overlap`.

    Args:
      features: f_i as columns, of which the direction alone counts; None are the inputs themselves, as of one-hot
        contexts.

    Example:
      >>> ls.feature_overlap()
      Measure('feature_overlap' at checkpoint, in 1)
    """
    given = _given(features)
    return Measure(
        "feature_overlap",
        long_name="overlap of the features in the hidden layer",
        at="checkpoint",
        up_to_rotation=True,
        of=lambda seen: overlap(feature_gram(seen.weights, given)),
    )


def feature_dimensionality(features: Directions | None = None) -> Measure:
    """D_i of every feature; see `linsim.measures.features.overlap`.

    Args:
      features: as those of `feature_overlap`.

    Example:
      >>> ls.feature_dimensionality(np.eye(3)[:, :2])
      Measure('feature_dimensionality' at checkpoint over feature, in 1)
    """
    given = _given(features)
    return Measure(
        "feature_dimensionality",
        dims=("feature",),
        long_name="share of a hidden dimension that a feature has",
        at="checkpoint",
        up_to_rotation=True,
        of=lambda seen: dimensionality(feature_gram(seen.weights, given)),
    )


def _scaled(gram: Any) -> Any:
    """Of size 1, so that squares are neither too large nor 0."""
    given = jnp.asarray(gram)
    size = jnp.max(jnp.abs(given))
    return given / jnp.where(size > 0, size, 1)


def _given(features: Any) -> Any:
    return None if features is None else _directions(features, None)


def _directions(features: Any, inputs: int | None) -> np.ndarray:
    """Columns of length 1."""
    given = numbers("features", features, 2, sized=True)
    fits = inputs is None or given.shape[0] == inputs
    require(fits, "features", f"columns of {given.shape[0]}", f"columns of {inputs}, as many as inputs")
    lengths = np.linalg.norm(given, axis=0)
    require(bool(np.all(lengths > 0)), "features", "a column of zeros", "directions")
    return np.asarray(given / lengths)
