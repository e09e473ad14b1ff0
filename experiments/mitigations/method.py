"""A mitigation as a value: what it changes of a problem, by how much, and what data it has to have seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from linsim.errors import require, require_axis, require_callable, require_choice, require_kind, require_number
from linsim.measure import Measure
from linsim.problem import Problem

Side = Literal["pretrain", "finetune"]
Data = Literal["", "fine-tuning data", "pre-training data"]
Rule = Literal["target", "base", "rehearsal"]

OWN = "strength"
"""The dimension of strengths, whatever they are of."""


def unchanged(problem: Problem, strength: float | None) -> Problem:
    """The problem as it is."""
    return problem


@dataclass(frozen=True)
class Method:
    """One row of the league.

    Example:
      A penalty towards the checkpoint, whose strength is swept as an axis of fine-tuning:

      Method("product penalty", "finetune", of=put_penalty, axis="product_penalty", strengths=(0.1, 1.0), recipe=1.0)
    """

    name: str
    side: Side
    of: Callable[[Problem, float | None], Problem] = unchanged
    """Problem of the standard recipe, strength -> the problem with the method. The strength is None where it is an
    axis, which is then to be left open, and where there are none. A pre-training that is changed begins at the initial
    weights; in fine-tuning the problem begins at the standard checkpoint."""
    axis: str = ""
    """Number of a phase that strengths are of, as `linsim.sweep` calls it; empty where `of` puts each in."""
    strengths: tuple[float, ...] = ()
    """Increasing, of which the best is chosen for every target; none where there is nothing to choose."""
    recipe: float | None = None
    """The one of them in the fixed recipe; by default the middle one."""
    rule: Rule = "target"
    """By what the strength is chosen: for every target the one that is best there; or for all of them alike the one
    with the least pre-training loss before fine-tuning, or after the fixed recipe, which it then has itself."""
    in_steps: bool = False
    """Whether strengths are shares of the steps of the phase, where the axis is of steps."""
    bounded: bool = False
    """Whether nothing is beyond the ends of the strengths, so that the best may be there."""
    rate: float = 1.0
    """Fine-tuning rates of the method over those of descent."""
    seen: Data = ""
    """What the method has to have at hand that descent has not: fine-tuning data while it pre-trains, or the other way
    round."""
    losses: Callable[[np.ndarray], tuple[Measure, Measure]] | None = None
    """Strengths -> both losses over `strength`, of a method that only reads weights otherwise after fine-tuning."""

    def validate(self, field: str) -> None:
        """Raise `InvalidInput` naming `field` for what is out of place."""
        require(isinstance(self.name, str) and bool(self.name.strip()), f"{field}.name", self.name, "a name")
        require_choice(f"{field}.side", self.side, get_args(Side))
        require_choice(f"{field}.rule", self.rule, get_args(Rule))
        require_choice(f"{field}.seen", self.seen, get_args(Data))
        require_callable(f"{field}.of", self.of, "a function of a linsim.Problem and a strength")
        require_kind(f"{field}.axis", self.axis, str)
        require_number(f"{field}.rate", self.rate, above=0, at_most=1e6)
        require_kind(f"{field}.strengths", self.strengths, tuple, "a tuple of numbers")
        if self.strengths:
            require_axis(f"{field}.strengths", self.strengths, at_least=0)
        needed = bool(self.strengths) or not (self.axis or self.losses)
        require(needed, f"{field}.strengths", self.strengths, "at least one, as there is an axis of them")
        known = self.recipe is None or self.recipe in self.strengths
        require(known, f"{field}.recipe", self.recipe, "one of its strengths")

    def applied(self, problem: Problem, strength: float | None) -> Problem:
        """What `of` makes of a problem; `InvalidInput` where that is none."""
        found = self.of(problem, strength)
        return require_kind("of", found, Problem, "a function that gives a linsim.Problem")

    @property
    def fixed(self) -> int:
        """Which strength is that of the fixed recipe."""
        if self.recipe is None:
            return len(self.strengths) // 2
        return self.strengths.index(self.recipe)

    def values(self, problem: Problem) -> Any:
        """Of the axis: strengths, in steps where they are shares of the phase."""
        values = np.asarray(self.strengths)
        steps = int(problem.budgets[-1]) if self.side == "pretrain" else problem.finetune_steps
        return np.round(values * steps) if self.in_steps else values
