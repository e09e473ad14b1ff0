"""One model, saved in three formats, is read as one tree; what is broken, foreign or a pickle is named."""

import io
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from safetensors.numpy import save_file

from linsim.errors import InvalidInput
from linsim.monitoring.checkpoints import Checkpoint, Tolerance, find, parameters, read
from linsim.monitoring.stored.named_trees import nested, plain, put_into

LAYERS = 12  # more than ten: as text, layer 10 sorts before layer 2


class Chain(nnx.Module):
    def __init__(self, seed=0):
        rngs = nnx.Rngs(seed)
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs) for _ in range(LAYERS)])
        self.dropout = nnx.Dropout(0.1, rngs=rngs)  # brings a counter and a random key along

    def __call__(self, inputs):
        for layer in self.layers:
            inputs = jnp.tanh(layer(inputs))
        return inputs


MODEL = Chain()
PARAMS = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(MODEL, nnx.Param)))


def flat(tree, separator):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator=separator): np.asarray(leaf) for path, leaf in leaves}


def save_orbax(path, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)


def save_steps(folder, step, **trees):
    """As a `CheckpointManager` saves a step: one item `default`, or several by name."""
    save = ocp.args.StandardSave
    with ocp.CheckpointManager(folder) as manager:
        args = (
            save(trees["default"])
            if list(trees) == ["default"]
            else ocp.args.Composite(**{name: save(tree) for name, tree in trees.items()})
        )
        manager.save(step, args=args)
        manager.wait_until_finished()


SAVERS = {
    "npz by slashes": lambda path: np.savez(path / "step_7.npz", **flat(PARAMS, "/")),
    "npz by dots": lambda path: np.savez(path / "step_7.npz", **flat(PARAMS, ".")),
    "safetensors": lambda path: save_file(flat(PARAMS, "."), path / "step_7.safetensors"),
    "orbax, a pure dict": lambda path: save_orbax(path / "step_7", PARAMS),
    "orbax, the state of a module": lambda path: save_orbax(path / "step_7", nnx.state(MODEL, nnx.Param)),
    "orbax, a list": lambda path: save_orbax(
        path / "step_7", {"layers": [PARAMS["layers"][i] for i in range(LAYERS)], "nothing": None}
    ),
    "a manager's step": lambda path: save_steps(path, 7, default=nnx.state(MODEL, nnx.Param)),
}


@pytest.mark.parametrize("name", SAVERS)
def test_every_format_gives_the_pure_dict_of_the_module(tmp_path, monkeypatch, name):
    SAVERS[name](tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    (checkpoint,) = find(Path(tmp_path.name))
    assert checkpoint.budget == 7
    tree = read(checkpoint)
    assert jax.tree.structure(tree) == jax.tree.structure(PARAMS)
    for got, saved in zip(jax.tree.leaves(tree), jax.tree.leaves(PARAMS), strict=True):
        assert isinstance(got, np.ndarray) and got.dtype == saved.dtype
        np.testing.assert_array_equal(got, saved)


def test_what_was_read_makes_the_module_compute_the_same(tmp_path):
    # `nnx.merge` pairs sorted names by position: with layers named "0" to "11" it swaps them and says nothing.
    np.savez(tmp_path / "step_7.npz", **flat(PARAMS, "/"))
    tree = read(find(tmp_path)[0])
    graph, _, rest = nnx.split(MODEL, nnx.Param, ...)
    inputs = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    for params in (tree, put_into(Chain(1), tree)):
        np.testing.assert_array_equal(nnx.merge(graph, params, rest, copy=True)(inputs), MODEL(inputs))


def test_the_part_of_the_parameters_is_read_from_a_whole_training_state(tmp_path):
    state = {"model": {"params": nnx.state(MODEL, nnx.Param)}, "step": jnp.asarray(7), "optimizer": [jnp.zeros(2)]}
    save_orbax(tmp_path / "step_7", state)
    save_steps(tmp_path / "managed", 7, weights=PARAMS, counters={"steps": jnp.asarray(7)})
    with pytest.raises(InvalidInput, match=r"step_7: step: got dtype int.*; allowed: .*--part"):
        parameters(Checkpoint(7, tmp_path / "step_7", "orbax"))
    shutil.move(tmp_path / "managed", tmp_path.with_name("managed"))
    for folder, part in ((tmp_path, "model.params"), (tmp_path.with_name("managed"), "weights")):
        (checkpoint,) = find(folder)
        jax.tree.map(np.testing.assert_array_equal, read(checkpoint, part), PARAMS)
        with pytest.raises(InvalidInput, match=r"7: model\.weight: got no (model|weight); allowed: one of "):
            read(checkpoint, "model.weight")


def test_a_bfloat16_file_is_read_and_a_name_of_a_group_is_no_array(tmp_path):
    save_file({"w": np.ones(3, jnp.bfloat16)}, tmp_path / "7.safetensors")
    assert read(find(tmp_path)[0])["w"].dtype == jnp.bfloat16
    for names in (("a", "a.b"), ("a.b", "a")):
        with pytest.raises(InvalidInput, match="names: got a"):
            nested({name: np.ones(1) for name in names})


def test_names_that_are_all_numbers_are_positions():
    tree = plain({"experts": {"3": 1.0, "10": 2.0}, "mixed": {"0": 1.0, "a": 2.0}, "padded": {"01": 1.0}, "no": [{}]})
    assert [list(tree[name]) for name in ("experts", "mixed", "padded")] == [[3, 10], ["0", "a"], ["01"]]
    assert "no" not in tree


def test_checkpoints_are_sorted_by_their_steps_whatever_their_endings(tmp_path):
    for name in ("run2-step=1000.npz", "run9-step=90.npz", "200", "epoch_3-step_300.weights"):
        buffer = io.BytesIO()
        np.savez(buffer, w=np.ones(2))
        (tmp_path / name).write_bytes(buffer.getvalue())
    found = find(tmp_path)
    assert [(one.budget, one.form) for one in found] == [(90, "npz"), (200, "npz"), (300, "npz"), (1000, "npz")]


def test_hidden_unfinished_and_untrained_entries_are_ignored_and_noted(tmp_path):
    np.savez(tmp_path / "step_5.npz", w=np.ones(2))
    np.savez(tmp_path / "step_0.npz", w=np.ones(2))
    np.savez(tmp_path / "best.npz", w=np.ones(2))
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "step_5.json").write_text("{}")
    (tmp_path / "logs").mkdir()
    (tmp_path / "optimizer.pt").write_bytes(b"\x80")
    (tmp_path / "6.orbax-checkpoint-tmp-123").mkdir()
    tolerance = Tolerance()
    assert [one.budget for one in find(tmp_path, tolerance)] == [5]
    assert tolerance.ignored.pop("optimizer.pt").startswith("a pickle, which is never read")
    assert tolerance.ignored == {
        ".DS_Store": "hidden",
        "6.orbax-checkpoint-tmp-123": "an unfinished save of orbax",
        "best.npz": "no number of steps in its name",
        "logs": "some other folder",
        "step_0.npz": "step 0 is no budget",
        "step_5.json": "some other file",
    }


class Bomb:
    """Its unpickling makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def object_array(path, mark):
    np.savez(path, w=np.asarray([Bomb(mark)], object))


def bare_pickle(path, mark):
    path.write_bytes(pickle.dumps({"w": Bomb(mark)}))


def torch_like(path, mark):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(mark)))


def npy_that_is_a_pickle(path, mark):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", pickle.dumps(Bomb(mark)))


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("step_1.npz", object_array, "not readable (Object arrays cannot be loaded when allow_pickle=False)"),
        ("step_1.npz", npy_that_is_a_pickle, "w: got no array of NumPy"),
        ("step_1.npz", bare_pickle, "a pickle, which is never read"),
        ("step_1.pkl", bare_pickle, "a pickle, which is never read"),
        ("step_1.safetensors", bare_pickle, "not readable ("),
        ("step_1.pt", torch_like, "a pickle of PyTorch, which is never read"),
        ("step_1.npz", torch_like, "a pickle of PyTorch, which is never read"),
    ],
)
def test_nothing_is_unpickled(tmp_path, name, write, said):
    folder, mark = tmp_path / "checkpoints", tmp_path / "ran"
    folder.mkdir()
    write(folder / name, mark)
    with pytest.raises(InvalidInput) as caught:
        read(find(folder)[0])
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and said in message and "\n" not in message
    assert not mark.exists()
    if write is not torch_like and name.endswith("kl"):
        pickle.loads((folder / name).read_bytes())  # the bomb is live
        assert mark.exists()


def broken(kind, folder):
    """A folder whose only checkpoint is broken in some way, and its name."""
    npz, tensors, orbax = folder / "step_1.npz", folder / "step_1.safetensors", folder / "step_1"
    if kind.startswith("npz"):
        np.savez(npz, w=np.arange(100.0))
        npz.write_bytes(npz.read_bytes()[: {"npz without end": -40, "npz of nothing": 0}[kind]])
    elif kind.startswith("safetensors"):
        save_file({"w": np.arange(100.0)}, tensors)
        tensors.write_bytes(
            tensors.read_bytes()[: {"safetensors without end": -8, "safetensors of a few bytes": 6}[kind]]
        )
    elif kind == "a header that promises too much":
        tensors.write_bytes(struct.pack("<Q", 1000) + b"{}")
    elif kind.startswith("orbax"):
        save_orbax(orbax, {name: jnp.arange(100.0) for name in "abcdefgh"})
        if kind == "orbax without metadata":
            (orbax / "_METADATA").unlink()
        elif kind == "orbax with half its metadata":
            (orbax / "_METADATA").write_text((orbax / "_METADATA").read_text()[:40])
        else:
            (data,) = (orbax / "d").iterdir()
            data.unlink() if kind == "orbax without data" else data.write_bytes(data.read_bytes()[:50])
    elif kind == "a text":
        (folder / "step_1").write_text("1,2,3")
    elif kind == "a zip of texts":
        with zipfile.ZipFile(npz, "w") as archive:
            archive.writestr("notes.txt", "1")
    elif kind == "a folder":
        (folder / "step_1" / "inside").mkdir(parents=True)
    elif kind == "no step":
        np.savez(folder / "best_epoch_3.npz", w=np.ones(1))
    elif kind == "a number beyond counting":
        np.savez(folder / f"step_{10**30}.npz", w=np.ones(1))
    elif kind == "no arrays":
        np.savez(npz)
    return next(folder.iterdir()).name


@pytest.mark.parametrize(
    "kind",
    [
        *("npz without end", "npz of nothing", "safetensors without end", "safetensors of a few bytes"),
        *("a header that promises too much", "orbax without metadata", "orbax with half its metadata"),
        *("orbax without data", "orbax with half its data", "a text", "a zip of texts", "a folder", "no step"),
        *("a number beyond counting", "no arrays"),
    ],
)
def test_what_is_broken_or_foreign_is_named_in_one_line(tmp_path, capfd, kind):
    name = broken(kind, tmp_path)
    capfd.readouterr()
    with pytest.raises(InvalidInput) as caught:
        read(find(tmp_path)[0])
    message = str(caught.value)
    assert message.startswith(f"{name}: ") and "\n" not in message and len(message) < 420
    assert capfd.readouterr().err == ""  # of the arrays that orbax was opening beside the broken one


def test_an_empty_folder_says_what_was_ignored(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        InvalidInput, match=r"\(ignored config.json: some other file\); allowed: a folder with at least"
    ):
        find(tmp_path)


def test_the_tolerant_skip_what_is_broken_and_read_the_rest(tmp_path):
    broken("npz without end", tmp_path)
    np.savez(tmp_path / "step_2.npz", w=np.ones(1))
    tolerance = Tolerance(skip=True)
    assert [one.budget for one in find(tmp_path, tolerance)] == [2]
    assert list(tolerance.skipped) == ["step_1.npz"]
    (tmp_path / "step_2.npz").unlink()
    with pytest.raises(InvalidInput, match=r"\(1 skipped\); allowed: a folder with at least one checkpoint"):
        find(tmp_path, Tolerance(skip=True))


def test_two_checkpoints_of_one_budget_are_an_error_for_the_tolerant_too(tmp_path):
    np.savez(tmp_path / "ckpt_1.npz", w=np.ones(1))
    save_file({"w": np.ones(1)}, tmp_path / "step_1.safetensors")
    with pytest.raises(InvalidInput, match=r"folder: got ckpt_1\.npz and step_1\.safetensors, both 1 steps; allowed"):
        find(tmp_path, Tolerance(skip=True))


def test_a_folder_is_wanted_and_not_one_checkpoint(tmp_path):
    save_orbax(tmp_path / "step_1", {"w": jnp.ones(1)})
    (tmp_path / "file").write_text("")
    for path, said in ((tmp_path / "step_1", "this is one of them"), (tmp_path / "file", "a folder of checkpoints")):
        with pytest.raises(InvalidInput, match=said):
            find(path)


def test_arrays_go_into_any_structure_by_name():
    template = {"layers": [{"w": jnp.zeros(2)}, {"w": jnp.zeros(3)}], "pair": (jnp.zeros(()), jnp.zeros(1))}
    tree = {"layers": {0: {"w": np.ones(2)}, 1: {"w": np.ones(3)}}, "pair": {0: np.ones(()), 1: np.full(1, 2.0)}}
    filled = put_into(template, tree)
    assert jax.tree.structure(filled) == jax.tree.structure(template)
    assert float(filled["pair"][1][0]) == 2.0


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"w": np.ones(2)}, r"b: got no such array; allowed: shape \(1,\), as in the template"),
        ({"w": np.ones(3), "b": np.ones(1)}, r"w: got shape \(3,\); allowed: shape \(2,\), as in the template"),
        ({"w": np.ones(2), "b": np.ones(1), "c": np.ones(1)}, r"c: got shape \(1,\); allowed: no such array"),
    ],
)
def test_other_names_or_shapes_than_the_template_are_refused(tree, said):
    with pytest.raises(InvalidInput, match=said):
        put_into({"w": jnp.zeros(2), "b": jnp.zeros(1)}, tree)


def test_what_is_neither_a_file_nor_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "step_5.npz")
    with pytest.raises(InvalidInput, match="step_5.npz: got neither a file nor a folder"):
        find(tmp_path)


def test_a_header_that_claims_more_than_there_is_memory_for_is_a_broken_file(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (35184372088832,), }"
    with zipfile.ZipFile(tmp_path / "step_5.npz", "w") as archive:
        archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(InvalidInput, match="step_5.npz: got not readable"):
        read(find(tmp_path)[0])
