"""Descent of scalar chains: all steps of some vectors of modes in registers, so many that none waits for another.

What is compiled is `mode_steps.step` itself, called on vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linsim.dynamics.kernels.vectors import Code, Integer, Registers, Vector
from linsim.dynamics.modes.mode_steps import Constants, Moving, step

_IN_FLIGHT = 6
"""Vectors of modes that step together: as one takes cycles to be added, others are begun, and all have registers."""


@dataclass(frozen=True)
class ModeKernel:
    """What is compiled: the depth, and the parts that an update has."""

    registers: Registers
    depth: int
    constants: tuple[str, ...]
    """Names of the fields of `Constants` that are there, `home` once a layer, in the order of its leaves."""
    momentum: bool = False
    nesterov: bool = False

    @property
    def moving(self) -> int:
        """Arrays that move."""
        return self.depth * (2 if self.momentum else 1)

    @property
    def modes(self) -> int:
        """Of one unit of work: arrays hold a multiple of it."""
        return _IN_FLIGHT * self.registers.width

    def written(self) -> tuple[str, int]:
        """The code, and the bytes that each thread needs beside the arrays: none.

        Its table holds the constants, then what moves, which is moved where it is; a lane is a unit of modes.
        """
        code, width = Code(self.registers), self.registers.width
        arrays = [code.array(number) for number in range(len(self.constants) + self.moving)]

        def unit(number: Integer, _: Any) -> None:
            first = code.whole((code.whole(number, "%first"), self.modes))

            def addresses(array: str) -> list[str]:
                return [code.address(array, code.whole(first, along * width)) for along in range(_IN_FLIGHT)]

            places = [addresses(array) for array in arrays]
            fixed = [[code.load(place) for place in array] for array in places[: len(self.constants)]]
            moving = [code.load(place) for array in places[len(self.constants) :] for place in array]
            ended = code.loop("%steps", lambda _, here: self._stepped(fixed, here), moving)
            for number, vector in enumerate(ended):
                code.store(vector, places[len(self.constants) + number // _IN_FLIGHT][number % _IN_FLIGHT])

        code.loop("%count", unit)
        return code.text(), 0

    def _stepped(self, fixed: list[list[Vector]], moving: list[Vector]) -> list[Vector]:
        """One step of all vectors in flight; arrays one after another, each with its vectors."""
        after: list[list[Any]] = []
        for along in range(_IN_FLIGHT):
            constants, here = self._of([array[along] for array in fixed]), tuple[Any, ...](moving[along::_IN_FLIGHT])
            velocity = here[self.depth :] if self.momentum else None
            stepped = step(constants, Moving(here[: self.depth], velocity), self.nesterov)
            after.append([*stepped.layers, *(stepped.velocity or ())])
        return [vectors[number] for number in range(self.moving) for vectors in after]

    def _of(self, fixed: list[Vector]) -> Constants:
        told: dict[str, Any] = dict.fromkeys(Constants._fields)
        for name, vector in zip(self.constants, fixed, strict=True):
            told[name] = (*(told[name] or ()), vector) if name == "home" else vector
        return Constants(**told)
