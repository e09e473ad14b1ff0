"""What archives unpack to is known before they are unpacked."""

import zipfile

import numpy as np
import pytest
from orbax.checkpoint import PyTreeCheckpointer
from safetensors.numpy import save_file

from linsim.errors import InvalidInput
from linsim.monitoring.checkpoints import Checkpoint, read
from linsim.storage import archives
from linsim.storage.archives import heads


def test_heads_tell_what_is_there(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((1000, 200)), bits=np.ones(3, bool))
    found = heads(tmp_path / "a.npz")
    assert (found["X"].shape, found["X"].bytes, found["bits"].bytes) == ((1000, 200), 1_600_000, 3)


@pytest.mark.parametrize(
    ("form", "save"),
    [
        ("npz", lambda path, tree: np.savez_compressed(path, **tree)),
        ("safetensors", lambda path, tree: save_file(tree, path)),
        ("orbax", lambda path, tree: PyTreeCheckpointer().save(path.absolute(), tree)),  # a hundredth of it on disk
    ],
)
def test_what_has_no_room_in_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, form, save):
    path = tmp_path / f"step_1.{form}"
    save(path, {"w": np.zeros(10**6)})
    monkeypatch.setattr(archives, "memory_left", lambda: 15 * 10**6)
    with pytest.raises(
        InvalidInput, match=rf"step_1.{form}: got not readable \(its arrays take 8 MB, and half of what"
    ):
        read(Checkpoint(1, path, form))
    monkeypatch.setattr(archives, "memory_left", lambda: 17 * 10**6)
    assert read(Checkpoint(1, path, form))["w"].shape == (10**6,)


@pytest.mark.parametrize(
    ("shape", "descr", "said"),
    [((10**9, 8), "<f8", "says 64000000000 bytes, and holds 16"), ((2,), "|O", "Object arrays cannot be loaded")],
)
def test_a_head_that_does_not_say_what_follows_is_refused(tmp_path, shape, descr, said):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("X.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": descr, "fortran_order": False, "shape": shape})
        member.write(bytes(16))
    with pytest.raises(ValueError, match=said):
        heads(tmp_path / "a.npz")
