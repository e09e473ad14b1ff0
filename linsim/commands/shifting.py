"""Shifts of the task as flags of a command line: one more is a field, and a line of `_chosen`."""

from __future__ import annotations

from dataclasses import dataclass

from linsim import shifts
from linsim.commands.named import call_named, named
from linsim.errors import fields_of, require, require_integer, require_number
from linsim.shifts import Shift, Side
from linsim.tasks import LinearTask, Transfer


@dataclass(frozen=True)
class ShiftConfig:
    """How the fine-tuning task differs, in this order; the rescaling stays beside others; modes are counted from 1."""

    rescale_from: int | None = None
    """First rescaled mode, all later ones follow; default the weakest three quarters."""
    rescale_factor: float = 4.0
    """Factor on their singular values, also beside the flags below; 1 leaves them, for another shift alone."""
    permute: tuple[int, ...] = ()
    """Mode i takes the singular value of mode permute[i]; a permutation of all modes, or empty."""
    zero: tuple[int, ...] = ()
    """Modes set to zero."""
    new: tuple[float, ...] = ()
    """Singular values given to modes that are zero."""
    rotate_degrees: float = 0.0
    """Angle by which singular vectors turn, in the planes of modes (1, 2), (3, 4), ..., in degrees; for a turn alone,
    without the rescaling, add --shift.rescale-factor 1."""
    rotate_side: Side = "right"
    """Which singular vectors turn: the outputs', the inputs', both alike, or both against each other."""
    own: tuple[str, ...] = ()
    """Shifts of your own, each MODULE:NAME, applied last."""


def shifted_as(config: ShiftConfig, task: LinearTask) -> Transfer:
    """The transfer from a task to itself after the shifts of a configuration, in the order of its fields.

    Raises:
      InvalidInput: a field outside its domain.
    """
    chosen = _chosen(config, len(task.strengths))
    with fields_of("shift", {"order": "permute", "modes": "zero", "strengths": "new", "degrees": "rotate_degrees"}):
        return shifts.shifted(task, *chosen)


def _chosen(config: ShiftConfig, modes: int) -> list[Shift]:
    first = modes // 4 + 1 if config.rescale_from is None else config.rescale_from
    require_integer("shift.rescale_from", first, at_least=1, at_most=modes)
    require_number("shift.rescale_factor", config.rescale_factor, at_least=-1e6, at_most=1e6)
    for value in config.new:
        require_number("shift.new", value, at_least=-1e6, at_most=1e6)
    chosen: list[Shift] = [shifts.Rescale(range(first, modes + 1), config.rescale_factor)]
    if config.permute:
        chosen.append(shifts.Permute(config.permute))
    chosen += [shifts.ZeroModes(config.zero), shifts.NewModes(config.new)]
    if config.rotate_degrees != 0:
        chosen.append(shifts.Rotate(config.rotate_degrees, config.rotate_side))
    return chosen + [_own(text) for text in config.own]


def _own(text: str) -> Shift:
    """MODULE:NAME."""
    shift = named("shift.own", text)
    require(callable(shift), "shift.own", text, "a function of a task that gives a task")

    def applied(task: LinearTask) -> LinearTask:
        other = call_named("own", text, lambda: shift(task))
        alike = isinstance(other, LinearTask) and other.target.shape == task.target.shape
        require(alike, "own", text, "a function that gives a LinearTask of the same shape")
        return other

    return applied
