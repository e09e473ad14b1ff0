"""Shifts change what they say and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsim import shifts
from linsim.errors import InvalidInput
from linsim.tasks import LinearTask, random_basis

TASK = LinearTask.create(
    np.asarray([4.0, 3.0, 2.0, 0.0]),
    outputs=4,
    inputs=5,
    left=random_basis(4, np.random.default_rng(0)),
    right=random_basis(5, np.random.default_rng(1)),
)


@pytest.mark.parametrize(
    ("shift", "strengths"),
    [
        (shifts.Rescale((2, 3), 2.0), [4, 6, 4, 0]),
        (shifts.Permute((2, 1, 3, 4)), [3, 4, 2, 0]),
        (shifts.ZeroModes((1,)), [0, 3, 2, 0]),
        (shifts.NewModes((1.5,)), [4, 3, 2, 1.5]),
        (shifts.Blend(shifts.Rescale((1,), 3.0), 0.5), [8, 3, 2, 0]),
    ],
)
def test_shift_of_strengths_keeps_the_bases(shift, strengths):
    result = shift(TASK)
    np.testing.assert_array_equal(result.strengths, strengths)
    assert result.left is TASK.left
    assert result.right is TASK.right


@given(st.floats(-360, 360), st.sampled_from(shifts.SIDES))
def test_rotation_turns_singular_vectors_by_the_angle_and_keeps_the_strengths(degrees, side):
    result = shifts.Rotate(degrees, side)(TASK)
    cosine = np.cos(np.deg2rad(degrees))
    for name in ("left", "right"):
        overlap = np.sum(getattr(result, name) * getattr(TASK, name), axis=0)[:4]
        np.testing.assert_allclose(overlap, cosine if side in (name, "both", "opposite") else 1.0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.svd(result.target, compute_uv=False), TASK.strengths, atol=1e-13)
    if side == "opposite":
        np.testing.assert_array_equal(result.right, shifts.Rotate(-degrees, "right")(TASK).right)


def test_mixtures_apply_in_order():
    result = shifts.shifted(TASK, shifts.ZeroModes((1,)), shifts.NewModes((9.0,)), shifts.Rescale((1,), 2.0))
    np.testing.assert_array_equal(result.finetune.strengths, [18, 3, 2, 0])
    assert result.pretrain is TASK


def test_blend_of_a_rotation_interpolates_the_targets():
    blended = shifts.Blend(shifts.Rotate(30.0), 0.25)(TASK)
    expected = 0.75 * TASK.target + 0.25 * shifts.Rotate(30.0)(TASK).target
    np.testing.assert_allclose(blended.target, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        (shifts.Rescale((0,), 2.0), "modes: got .0,.; allowed: distinct modes within 1..4"),
        (shifts.Rescale((1, 1), 2.0), "modes: got"),
        (shifts.Rescale((1,), float("nan")), "factor: got nan"),
        (shifts.Permute((1, 2)), "order: got"),
        (shifts.NewModes((1.0, 1.0)), "strengths: got .*at most 1"),
        (shifts.Rotate(float("inf")), "degrees: got inf"),
    ],
)
def test_bad_shifts_are_refused(shift, message):
    with pytest.raises(InvalidInput, match=message):
        shift(TASK)
