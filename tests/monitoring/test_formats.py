"""Checkpoints as others leave them: folders of Hugging Face, every version of orbax, small floats, states of Flax."""

import json
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from flax.core import freeze
from orbax.checkpoint import msgpack_utils, v1
from safetensors.numpy import save_file

from linsim.errors import InvalidInput
from linsim.monitoring.checkpoints import Checkpoint, Tolerance, find, parameters, read
from linsim.monitoring.stored.likeness import Likeness
from linsim.monitoring.stored.named_trees import put_into
from linsim.monitoring.stored.parameters import repeated, without_state
from linsim.monitoring.trees import leaves_of

W, V = np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(4, dtype=np.float32)


def sharded(folder, listed=None):
    """A checkpoint of Hugging Face in two shards with their index."""
    folder.mkdir()
    save_file({"layer.w": W}, folder / "model-00001-of-00002.safetensors")
    save_file({"layer.v": V}, folder / "model-00002-of-00002.safetensors")
    names = {"layer.w": "model-00001-of-00002.safetensors", "layer.v": "model-00002-of-00002.safetensors"}
    index = {"metadata": {"total_size": 40}, "weight_map": names if listed is None else listed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_folders_of_hugging_face_are_read_whole_or_in_shards_and_what_lies_beside_is_told(tmp_path):
    sharded(tmp_path / "checkpoint-500")
    (tmp_path / "checkpoint-1000").mkdir()
    save_file({"layer.w": W, "layer.v": V}, tmp_path / "checkpoint-1000" / "model.safetensors")
    (tmp_path / "checkpoint-1000" / "optimizer.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "step_2000").mkdir()
    np.savez(tmp_path / "step_2000" / "params.npz", **{"layer.w": W, "layer.v": V})
    tolerance = Tolerance()
    found = find(tmp_path, tolerance)
    assert [each.budget for each in found] == [500, 1000, 2000]
    beside = "beside the weights, in 3 checkpoints"
    assert tolerance.ignored == {"model.safetensors.index.json, optimizer.pt": beside}
    for each in found:
        jax.tree.map(np.testing.assert_array_equal, read(each), {"layer": {"w": W, "v": V}})
    with pytest.raises(InvalidInput, match="this is one of them"):
        find(tmp_path / "checkpoint-500")


def without_a_shard(folder):
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def with_index(text):
    """Two shards beside an index of a text."""

    def write(folder):
        sharded(folder)
        (folder / "model.safetensors.index.json").write_text(text)

    return write


def without_index(folder):
    sharded(folder)
    (folder / "model.safetensors.index.json").unlink()


def both(folder):
    sharded(folder)
    save_file({"w": W}, folder / "model.safetensors")


def several(folder):
    folder.mkdir()
    for name in ("a", "b"):
        save_file({"w": W}, folder / f"{name}.safetensors")


def pickled(folder):
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04")


SHARD = "model-00001-of-00002.safetensors"
HALF = {
    "a shard is missing": (without_a_shard, "no model-00002-of-00002.safetensors; allowed: all shards"),
    "no index": (without_index, "shards without their index"),
    "an index beside a whole file": (both, "one set of weights"),
    "several files": (several, "one file of weights"),
    "a pickle": (pickled, "which is never read"),
    "an index of something else": (lambda folder: sharded(folder, {"w": ["x"]}), "no weight_map"),
    "an index that leads out": (lambda folder: sharded(folder, {"w": "../w.safetensors"}), "no weight_map"),
    "an index cut short": (with_index("{"), "not readable (Expecting property name"),
    "an index of nothing but depth": (with_index("[" * 100_000), "not readable (no JSON"),
    "an index that is none": (lambda folder: sharded(folder, []), "no weight_map"),
    "other arrays than listed": (lambda folder: sharded(folder, {"layer.u": SHARD}), "other arrays than its index"),
}


@pytest.mark.parametrize("kind", HALF)
def test_folders_that_are_not_whole_are_named_in_one_line(tmp_path, kind):
    make, said = HALF[kind]
    make(tmp_path / "checkpoint-500")
    with pytest.raises(InvalidInput) as caught:
        read(find(tmp_path)[0])
    line = str(caught.value)
    assert said in line and "\n" not in line and ("checkpoint-500" in line or "index.json" in line)


def test_every_version_of_orbax_is_read(tmp_path):
    tree = {"a": {"w": jnp.asarray(V)}}
    for step, settings in enumerate(
        ({"use_ocdbt": False}, {"use_zarr3": True}, {"use_ocdbt": False, "use_zarr3": True})
    ):
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**settings)) as checkpointer:
            checkpointer.save(tmp_path / f"step_{step + 1}", args=ocp.args.PyTreeSave(tree))
    v1.save(tmp_path / "step_4", tree)
    old = tmp_path / "step_5"  # as before 2023: arrays beside one file that names them
    old.mkdir()
    shutil.copytree(tmp_path / "step_1" / "a.w", old / "a.w")
    (old / "checkpoint").write_bytes(msgpack_utils.msgpack_serialize({"a": {"w": "PLACEHOLDER://a.w"}}))
    found = find(tmp_path)
    assert [each.form for each in found] == ["orbax"] * 5
    for each in found:
        jax.tree.map(np.testing.assert_array_equal, read(each), {"a": {"w": V}})


SMALL = {"npz": ("bfloat16", "float8_e5m2"), "safetensors": ("bfloat16", "float8_e5m2", "float8_e4m3fn")}


@pytest.mark.parametrize("form", SMALL)
def test_small_floats_are_read_as_what_they_are(tmp_path, form):
    for step, kind in enumerate(SMALL[form], start=1):
        small = np.asfortranarray(W).astype(getattr(ml_dtypes, kind))
        save = np.savez if form == "npz" else lambda path, **arrays: save_file(arrays, path)
        save(tmp_path / f"step_{step}.{form}", w=small if form == "npz" else np.ascontiguousarray(small), full=V)
    for kind, each in zip(SMALL[form], find(tmp_path), strict=True):
        tree = read(each)
        assert tree["w"].dtype == kind and tree["full"].dtype == np.float32
        np.testing.assert_array_equal(tree["w"].astype(np.float32), W)  # small integers are exact in all of them


def test_bytes_of_a_kind_that_numpy_did_not_keep_are_refused(tmp_path):
    np.savez(tmp_path / "step_1.npz", w=W.astype(ml_dtypes.float8_e4m3fn))
    with pytest.raises(InvalidInput, match=r"step_1\.npz: w: got bytes of a kind that NumPy did not keep \(\|V1\)"):
        read(find(tmp_path)[0])


def test_names_a_thousand_levels_deep_are_refused(tmp_path):
    np.savez(tmp_path / "step_1.npz", **{"/".join(["layer"] * 3000): V})
    with pytest.raises(InvalidInput, match=r"step_1\.npz: names: got layer/.* of 3000 levels"):
        read(find(tmp_path)[0])


class Net(nnx.Module):
    def __init__(self, seed):
        rngs = nnx.Rngs(seed)
        self.first, self.norm = nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)


def test_statistics_and_random_streams_of_nnx_are_told_and_left_out_with_a_template_or_without(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step_1", nnx.state(Net(1)))
    wanted, state = (
        leaves_of(nnx.state(Net(1), nnx.Param)),
        {"norm.mean", "norm.var", "drop.rngs.count", "drop.rngs.key"},
    )
    for template in (None, Net(0)):
        tolerance = Tolerance()
        got = leaves_of(parameters(find(tmp_path)[0], template=template, tolerance=tolerance))
        assert set(got) == set(wanted) and set(tolerance.left_out) == state
        for name, leaf in wanted.items():
            np.testing.assert_array_equal(got[name], leaf)


def test_a_template_knows_statistics_by_their_kind_and_not_by_their_names():
    class Odd(nnx.Module):
        def __init__(self):
            self.w, self.middle = nnx.Param(jnp.asarray(V)), nnx.BatchStat(jnp.zeros(2))

    left_out = {}
    put_into(Odd(), {"w": V, "middle": V[:2]}, left_out)
    assert left_out == {"middle": "of nnx.BatchStat"}
    with pytest.raises(InvalidInput, match="other: got shape"):
        put_into(Odd(), {"w": V, "other": V[:2]})


def test_collections_of_linen_and_counters_of_pytorch_are_left_out_and_a_mean_of_their_own_is_not():
    arrays = {"kernel": W, "bias": V}
    tree, left_out = without_state({"params": {"d": arrays}, "batch_stats": {"n": {"mean": V, "var": V}}})
    assert list(tree) == ["params"] and list(left_out) == ["batch_stats"]
    tracked = {"weight": V, "running_mean": V, "running_var": V, "num_batches_tracked": np.asarray(3)}
    tree, left_out = without_state({"norm": tracked})
    assert list(tree["norm"]) == ["weight", "running_mean", "running_var"]
    assert list(left_out) == ["norm.num_batches_tracked"]
    for own in ({"mean": V, "var": V}, {"mean": V, "var": V, "scale": W}, {"key": V, "count": V}):
        assert without_state({"own": own}) == ({"own": own}, {})


def test_boxes_of_linen_are_seen_through_where_some_arrays_have_them(tmp_path):
    boxed = freeze({"a": {"kernel": nn.Partitioned(jnp.asarray(W), ("x", None))}, "b": {"kernel": jnp.asarray(V)}})
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step_1", boxed)
    np.savez(tmp_path / "step_2.npz", **{"a/kernel": W, "b/kernel": V})
    for checkpoint in find(tmp_path):
        filled = parameters(checkpoint, template=boxed)
        assert jax.tree.structure(filled) == jax.tree.structure(boxed)
        np.testing.assert_array_equal(filled["a"]["kernel"].unbox(), W)
        np.testing.assert_array_equal(filled["b"]["kernel"], V)


def test_tied_layers_are_told_and_the_second_name_is_left_out_where_the_template_has_one():
    tree = {"embed": {"w": W}, "head": {"w": W.copy()}, "zeros": np.zeros(3), "more_zeros": np.zeros(3)}
    assert repeated(tree) == [("embed.w", "head.w")]
    template, left_out = {name: leaf for name, leaf in tree.items() if name != "head"}, {}
    filled = put_into(jax.tree.map(jnp.asarray, template), tree, left_out)
    assert left_out == {"head.w": "the same numbers as embed.w"} and "head" not in filled
    tree["head"]["w"][0, 0] += 1
    with pytest.raises(InvalidInput, match=r"head\.w: got shape \(3, 2\); allowed: no such array"):
        put_into(jax.tree.map(jnp.asarray, template), tree)


def test_equal_and_nearly_equal_checkpoints_are_told_and_others_are_not():
    likeness, rng = Likeness(), np.random.default_rng(0)
    weights = rng.standard_normal((50, 40))
    near, apart = weights * (1 + 3e-8), weights + 1e-3 * rng.standard_normal((50, 40))
    for name, array in {"a": weights, "b": weights.copy(), "c": near, "d": apart, "e": weights}.items():
        likeness.add(name, {"w": array})
    assert likeness.told == ["b, e hold the same weights as a"]
    ((one, other, distance),) = likeness.near
    assert (one, other) == ("a", "c") and 1e-8 < distance < 1e-7


def test_a_checkpoint_of_nothing_but_state_has_no_arrays(tmp_path):
    np.savez(tmp_path / "step_1.npz", num_batches_tracked=np.asarray(3))
    with pytest.raises(InvalidInput, match=r"step_1\.npz: got no arrays"):
        read(Checkpoint(1, tmp_path / "step_1.npz", "npz"))
