"""What may be a model's parameters and a batch, and which two trees are of one model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.core.meta import AxisMetadata
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from linsim.errors import InvalidInput, brief, brief_error, require, used_up

Params = Any
"""A pytree of floating-point arrays."""

Batch = Any
"""A pytree of arrays whose first axis runs over examples; for a `Predictive`, a pair (inputs, targets)."""

Loss = Callable[[Params, Batch], Any]
"""The mean loss of a batch, a scalar; a `Predictive` is one."""


def state_of(model: Any) -> Any:
    """The parameters of a Flax module, or the tree that was given, as they are."""
    return nnx.state(model, nnx.Param) if isinstance(model, nnx.Module) else model


def parameters_of(model: Any) -> Params:
    """The parameters of a Flax module, or the tree that was given, in float32 or better.

    Squares of half-precision gradients overflow or vanish, and differences of losses are lost in rounding.
    `InvalidInput` for anything but floating leaves.
    """
    tree = state_of(model)
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=used_up)
    require(len(leaves) > 0, "params", brief(tree), "a tree with at least one array")
    for path, leaf in leaves:
        named = f"params{jax.tree_util.keystr(path)}"
        array = isinstance(leaf, float) or getattr(getattr(leaf, "dtype", None), "kind", "O") in "biufcV"
        require(array and not isinstance(leaf, np.ma.MaskedArray), named, brief(leaf), "an array of real numbers")
        kind = jnp.result_type(leaf)
        floating = jnp.issubdtype(kind, jnp.floating)
        require(floating, named, f"dtype {kind}", "real floating-point numbers")
    with np.errstate(
        over="ignore"
    ):  # what JAX has no room for, where it is set to float32, is infinite, and told as that
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32)), tree)


def leaves_of(tree: Any) -> dict[str, Any]:
    """Every leaf by its name, layers.0.kernel, whatever kinds of trees are nested; boxes of Flax are seen through."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_box):
        (inner,) = jax.tree.leaves(leaf) or (None,)
        named[jax.tree_util.keystr(path, simple=True, separator=".")] = inner
    return named


def _is_box(node: Any) -> bool:
    """A variable of nnx, or a parameter of linen that says how it is partitioned."""
    return isinstance(node, nnx.Variable | AxisMetadata)


def shapes_of(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every leaf by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): tuple(np.shape(leaf)) for path, leaf in leaves}


def require_same_shapes(field: str, shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    """Raise `InvalidInput` at the first leaf in which two trees differ."""
    for path in [*expected, *shapes]:
        found, wanted = (shapes_.get(path, "no such leaf") for shapes_ in (shapes, expected))
        require(found == wanted, f"{field}{path}", f"{found}", f"{wanted}, as in the first checkpoint")


def examples_in(batch: Batch, field: str = "batch") -> int:
    """How many examples a batch has; `InvalidInput` names it where it is empty or its arrays disagree."""
    shapes = shapes_of(batch)
    require(len(shapes) > 0, field, brief(batch), "arrays whose first axis runs over examples")
    for path, shape in shapes.items():
        require(len(shape) > 0 and shape[0] > 0, f"{field}{path}", f"shape {shape}", "at least one example")
    lengths = {shape[0] for shape in shapes.values()}
    require(len(lengths) == 1, field, f"shapes {list(shapes.values())}", "the same number of examples in every array")
    return lengths.pop()


def require_scalar(loss: Loss, params: Params, batch: Batch) -> None:
    """Raise `InvalidInput` unless the loss of a batch is one real number."""
    try:
        value = jax.eval_shape(loss, params, batch)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a user's code raises
        allowed = f"a function that takes these parameters and batches; it fails with {brief_error(error)}"
        raise InvalidInput("loss", brief(loss), allowed) from error
    require_one_number(value)


def require_one_number(value: Any) -> None:
    """Raise `InvalidInput` unless a loss, or its shape, is one real number."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(value)]
    require(shapes == [()], "loss", f"a result of shapes {shapes}", "one scalar")
    kind = jax.tree.leaves(value)[0].dtype
    require(jnp.issubdtype(kind, jnp.floating), "loss", f"dtype {kind}", "a real floating-point number")


def spread(params: Params, batch: Batch, axis: int = 0) -> tuple[Params, Batch]:
    """Spread the examples of a batch over the devices of the process, and the parameters to each of them.

    Parameters that already live on several devices are left there, and the whole batch is put on each of those.
    """
    devices = jax.devices()
    for leaf in jax.tree.leaves(params):
        if isinstance(leaf, jax.Array) and len(leaf.devices()) > 1:
            held = leaf.sharding
            everywhere = NamedSharding(held.mesh, PartitionSpec()) if isinstance(held, NamedSharding) else None
            return params, batch if everywhere is None else jax.device_put(batch, everywhere)
    count = math.gcd(len(devices), jax.tree.leaves(batch)[0].shape[axis])
    if len(devices) == 1:
        return params, batch
    mesh = Mesh(np.asarray(devices[:count]), ("examples",))
    rows = NamedSharding(mesh, PartitionSpec(*[None] * axis, "examples"))
    return jax.device_put(params, NamedSharding(mesh, PartitionSpec())), jax.device_put(batch, rows)
