"""How sweeps are cut: every lane once, every chunk one writer, and no more at once than the memory holds."""

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim.errors import InvalidInput
from linsim.sweeping import plan
from linsim.sweeping.plan import COPIES, RESULT_BYTES, Box, Machine, Plan, cut

GRIDS = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@st.composite
def sweeps(draw):
    """(shape, trajectory dims, bytes of a state, machine) such that a lane fits."""
    shape = draw(GRIDS)
    swept = draw(st.sets(st.integers(1, len(shape) - 2))) if len(shape) > 2 else set()
    state = draw(st.integers(1, 4000))
    least = max(2 * COPIES * state, 4 * shape[0] * max(state, RESULT_BYTES))
    machine = Machine(draw(st.integers(least, 50 * least)), draw(st.sampled_from([1, 2, 3, 8])), draw(st.booleans()))
    return shape, (*sorted(swept), len(shape) - 1), state, machine


def positions(box):
    return product(*(range(first, last) for first, last in zip(box.start, box.stop, strict=True)))


def within(inner, outer):
    return all(a <= b < c <= d for a, b, c, d in zip(outer.start, inner.start, inner.stop, outer.stop, strict=True))


@given(sweeps())
def test_chunks_hold_every_lane_once_with_all_its_budgets(sweep):
    shape, *_ = sweep
    boxes = cut(*sweep).boxes()
    counted = np.zeros(shape, int)
    for box in boxes:
        counted[box.slices] += 1
        assert (box.start[0], box.stop[0]) == (0, shape[0])
    assert (counted == 1).all()
    assert sum(math.prod(box.shape) for box in boxes) == math.prod(shape)


@given(sweeps())
def test_a_chunk_of_the_sweep_is_a_chunk_on_disk(sweep):
    cuts = cut(*sweep)
    for box in cuts.boxes():
        for first, last, length, whole in zip(box.start, box.stop, cuts.chunk, cuts.shape, strict=True):
            assert first % length == 0
            assert last == min(first + length, whole)


@given(sweeps())
def test_a_chunk_is_in_one_block_and_those_of_a_block_come_one_after_another(sweep):
    shape, trajectory_dims, *_ = sweep
    cuts = cut(*sweep)
    blocks = [cuts.block_of(box) for box in cuts.boxes()]
    assert all(within(box, block) for box, block in zip(cuts.boxes(), blocks, strict=True))
    changes = sum(first != second for first, second in pairwise(blocks))
    assert changes == len(set(blocks)) - 1
    for block in blocks:  # only pre-training runs are told apart by blocks
        assert all(
            (first, last) == (0, length)
            for dim, (first, last, length) in enumerate(zip(block.start, block.stop, shape, strict=True))
            if dim not in trajectory_dims
        )


@given(sweeps())
def test_what_is_held_at_once_fits_the_memory(sweep):
    (budgets, *_), trajectory_dims, state, machine = sweep
    cuts = cut(*sweep)
    assert cuts.bite * COPIES * state <= machine.memory // 2
    assert math.prod(cuts.chunk) * RESULT_BYTES <= machine.memory // 4
    trajectories = math.prod(min(cuts.block[dim], sweep[0][dim]) for dim in trajectory_dims)
    chunk = math.prod(cuts.chunk[dim] for dim in trajectory_dims)
    # Whole chunks, which is where less than a chunk too many comes from.
    assert (trajectories - chunk) * budgets * state <= machine.memory // 4


def test_blocks_of_whole_chunks_fit_the_memory_too():
    # A quarter of it holds 2.9 trajectories of 4 budgets and 101 bytes each, a chunk 2.
    cuts = cut((4, 3, 5), (1, 2), 101, Machine(4848, 1))
    assert math.prod(cuts.block[1:]) * 4 * 101 <= 4848 // 4


def test_pre_training_steps_fit_the_memory():
    cuts = cut((1, 1000, 100), (1, 2), 1000, Machine(2**20, 1))
    assert math.prod(cuts.block) * COPIES * 1000 <= 2**20


@given(sweeps())
def test_bites_cover_a_chunk_with_little_to_spare(sweep):
    _, _, _, machine = sweep
    cuts = cut(*sweep)
    lanes, together = math.prod(cuts.chunk), cuts.bite * machine.devices
    assert cuts.bite >= 1
    # Of equal bites the last is short by less than a lane a bite.
    assert -(-lanes // together) * together - lanes < max(together, -(-lanes // cuts.bite) + machine.devices)


@given(GRIDS, st.integers(1, 4000))
def test_the_memory_it_asks_for_is_what_it_needs(shape, state):
    with pytest.raises(InvalidInput, match=r"memory: got 1; allowed: at least \d+ bytes here") as told:
        cut(shape, (len(shape) - 1,), state, Machine(1, 1))
    least = int(told.value.allowed.split()[2])
    assert math.prod(cut(shape, (len(shape) - 1,), state, Machine(least, 1)).chunk) >= shape[0]
    with pytest.raises(InvalidInput):
        cut(shape, (len(shape) - 1,), state, Machine(least - 1, 1))


def test_chunks_stay_below_what_a_kill_may_cost():
    for accelerator, most in ((False, plan.CHUNK_LANES["cpu"]), (True, plan.CHUNK_LANES["accelerator"])):
        cuts = cut((60, 300, 200, 10), (3,), 64, Machine(2**40, 1, accelerator))
        assert most // 4 < math.prod(cuts.chunk) <= most


def test_lanes_step_within_the_caches_on_a_cpu_alone():
    of_cpu, of_other = (cut((10, 1000, 1), (2,), 2**16, Machine(2**40, 1, kind)) for kind in (False, True))
    assert of_cpu.bite * 2**16 <= plan.CACHED
    assert of_other.bite == 10_000


def test_a_plan_survives_json():
    cuts = cut((6, 5, 4), (2,), 100, Machine(2**20, 2))
    again = cuts.as_dict()
    assert Plan(*(tuple(again[name]) for name in ("shape", "chunk", "block")), again["bite"]) == cuts


def test_a_box_slices_its_part_of_the_grid():
    box = Box((1, 0), (3, 2))
    np.testing.assert_array_equal(np.arange(12).reshape(4, 3)[box.slices], [[3, 4], [6, 7]])
    assert box.shape == (2, 2)
