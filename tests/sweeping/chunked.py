"""A small sweep in chunks on disk, ways to damage a file, and comparison to the last bit; shared by the tests."""

from dataclasses import replace

import linsim.sweeping.computing
from linsim.phase import Phase
from linsim.sweeping.plan import Plan
from linsim.sweeping.running import running
from linsim.sweeping.sweep import sweep
from tests.problems import aligned_problem

AXES = {"pretrain_momentum": [0.1, 0.3, 0.6], "learning_rate": [2e-3, 4e-3, 9e-3]}
CUTS = Plan((2, 3, 3, 3), (2, 1, 2, 2), (2, 2, 3, 4), 3)
"""Two blocks, twelve chunks, the last ones short on every axis; bites do not divide chunks."""
PROBLEM = aligned_problem(seeds=3, budgets=(5, 40), finetune_steps=30, pretrain=Phase(0.01, momentum=0.1))


VARIABLES = ["pretrain_loss_before", "pretrain_loss_after", "finetune_loss_after", "forgetting", "diverged"]


def cut_small(patch):
    """Whatever the memory, sweeps are cut as above."""
    patch.setattr(linsim.sweeping.computing, "cut", lambda *_: CUTS)


def swept(folder, **changes):
    with running(keep=folder, recheck=0):
        return sweep(replace(PROBLEM, **changes), AXES).load()


def same_bits(one, other):
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        assert one[name].dtype == other[name].dtype
        assert one[name].values.tobytes() == other[name].values.tobytes(), name


def chunks_of(folder):
    (found,) = (path for path in folder.iterdir() if path.is_dir())
    return found


def chunk_files(folder, name):
    return sorted(path for path in folder.glob(f"*/{name}/c/**/*") if path.is_file())


def delete(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def extend(path):
    path.write_bytes(path.read_bytes() + b"\0")


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def four_zeros(path):
    """Whose checksum is that of nothing."""
    path.write_bytes(bytes(4))


def flip(path, bit=None):
    content = bytearray(path.read_bytes())
    bit = len(content) * 4 if bit is None else bit
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


DAMAGES = [delete, empty, truncate, extend, zero, four_zeros, flip]
