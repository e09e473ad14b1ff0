"""Whether any of the three changes the severity, by one recipe alone or at equal effort too."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.theory.over_seeds import OverSeeds, over_seeds

from ..words import NEGLIGIBLE, factor, few_seeds, percent, tabular
from .questions import EFFORT, RECIPE, RECIPES

MOST = 0.05
"""Chance that a question's alternatives are told apart where they are alike; larger of few seeds (`few_seeds`)."""
TOO, ALONE, PERHAPS = "at equal effort, too", "by one recipe alone", "by one recipe, at equal effort nobody can tell"
CHANGES = (TOO, ALONE, PERHAPS)
NO, UNKNOWN = "no", "unknown"
_NOTED = {TOO: "", ALONE: ", which is no difference", PERHAPS: ", as far as seeds tell"}


class Move(NamedTuple):
    """The two alternatives of a case that are furthest apart by one recipe, in the median."""

    case: str
    recipe: str
    low: int
    """Alternative with the least harm, by its place."""
    high: int
    by: OverSeeds
    """ln[(1 + harm) of the one / (1 + harm) of the other], paired over seeds."""

    @property
    def clear(self) -> bool:
        """Whether the interval is beyond what is negligible; it allows for every pair that might have been picked."""
        return self.by.ends[0] > NEGLIGIBLE


def find(dataset: xr.Dataset) -> Finding:
    """Of every question whether its alternatives differ in harm, by one recipe and at equal effort.

    Seen where at least one of them changes the severity, by one recipe at least; not seen where the medians of none do
    by more than is negligible; else nobody can tell.
    """
    trust = ""
    if told := dataset.attrs.get("distrusted"):
        trust = f"DO NOT TRUST THIS RESULT; what it reads says so of itself: {told}."
    moves = {question: _moves(dataset, question) for question in _questions(dataset)}
    answers = {question: _answer(of) for question, of in moves.items()}
    sentence = "; ".join(_said(dataset, question, moves[question], answers[question]) for question in moves)
    if any(answer in CHANGES for answer in answers.values()):
        sentence = f"harm by one recipe, and at equal effort: {sentence}"
    numbers = {
        f"{question}, {recipe}": float(np.expm1(largest.by.middle))
        for question, of in moves.items()
        for recipe in RECIPES
        if (largest := _largest(of, recipe)) is not None
    }
    verdict: Verdict = "cannot tell"
    if any(answer in CHANGES for answer in answers.values()):
        verdict = "seen"
    elif all(answer == NO for answer in answers.values()):
        verdict = "not seen"
    return Finding(f"{sentence[0].upper()}{sentence[1:]}", verdict, numbers, tuple(_beside(dataset, moves)), trust)


def table(dataset: xr.Dataset) -> list[str]:
    """A row for each case: harm and excess of the two alternatives whose harm is furthest apart, by either recipe."""
    heads = ["from least to most harm, in %", f"{RECIPE}: harm", "excess", f"{EFFORT}: harm", "excess"]
    rows = []
    for question in _questions(dataset):
        moves = _moves(dataset, question)
        for case in dict.fromkeys(move.case for move in moves):
            cells = []
            for recipe in RECIPES:
                move = next((each for each in moves if (each.case, each.recipe) == (case, recipe)), None)
                cells += ["?"] * 2 if move is None else _cells(dataset, move)
            rows.append([case, *cells])
    return tabular(heads, rows)


def _questions(dataset: xr.Dataset) -> list[str]:
    return list(dict.fromkeys(map(str, dataset["question"].values)))


def _moves(dataset: xr.Dataset, question: str) -> list[Move]:
    """Of every case and recipe of a question, where two alternatives are known."""
    here = dataset["question"].values == question
    cases = list(dict.fromkeys(map(str, dataset["case"].values[here])))
    logs = xr.ufuncs.log1p(dataset["harm"].where(np.isfinite(dataset["harm"])))
    found = []
    for case, recipe in itertools.product(cases, RECIPES):
        values = logs.sel(recipe=recipe).transpose("alternative", "seed").values
        places = np.flatnonzero(here & (dataset["case"].values == case)).tolist()
        told = [place for place in places if np.isfinite(values[place]).any()]
        if len(told) < 2:
            continue
        middles = [float(np.nanmedian(values[place])) for place in told]
        low, high = told[int(np.argmin(middles))], told[int(np.argmax(middles))]
        low = low if low != high else next(place for place in told if place != high)
        pairs = len(cases) * len(told) * (len(told) - 1) // 2
        found.append(Move(case, recipe, low, high, over_seeds(values[high] - values[low], level=1 - MOST / pairs)))
    return [move for move in found if move.by.seeds]


def _largest(moves: list[Move], recipe: str) -> Move | None:
    """That of the case in which alternatives are furthest apart; of those that are clear, where there are any."""
    return max((move for move in moves if move.recipe == recipe), key=_order, default=None)


def _order(move: Move) -> tuple[bool, float]:
    return move.clear, move.by.middle


def _answer(moves: list[Move]) -> str:
    """One of the answers above."""
    recipe, effort = (_largest(moves, name) for name in RECIPES)
    if recipe is None or effort is None:
        return UNKNOWN
    if effort.clear:
        return TOO
    if recipe.clear:
        return ALONE if effort.by.middle <= NEGLIGIBLE else PERHAPS
    return NO if max(recipe.by.middle, effort.by.middle) <= NEGLIGIBLE else UNKNOWN


def _said(dataset: xr.Dataset, question: str, moves: list[Move], answer: str) -> str:
    if answer == UNKNOWN:
        return f"whether the {question} changes the severity cannot be told"
    if answer == NO:
        return f"the {question} does not change the severity"
    of = {recipe: [move for move in moves if move.recipe == recipe] for recipe in RECIPES}
    first = max(of[RECIPE], key=_order)
    second = next((move for move in of[EFFORT] if move.case == first.case), max(of[EFFORT], key=_order))
    return f"over {question}s {_range(dataset, first)}, and {_range(dataset, second)}" + _NOTED[answer]


def _range(dataset: xr.Dataset, move: Move, of: str = "harm") -> str:
    low, high = (_median(dataset[of], place, move.recipe) for place in (move.low, move.high))
    return f"{percent(low)} to {percent(high)}"


def _median(values: xr.DataArray, place: int, recipe: str) -> float:
    return over_seeds(values.isel(alternative=place).sel(recipe=recipe).values).middle


def _cells(dataset: xr.Dataset, move: Move) -> list[str]:
    ends = (move.low, move.high)
    return [
        " to ".join(f"{100 * round(_median(dataset[name], place, move.recipe), 4):.3g}" for place in ends)
        for name in ("harm", "excess")
    ]


def _beside(dataset: xr.Dataset, moves: dict[str, list[Move]]) -> list[str]:
    """By which factor the furthest alternatives differ, with intervals, and what the recipes are."""
    lines = []
    for question, of in moves.items():
        for recipe in (RECIPE, EFFORT):
            if (move := _largest(of, recipe)) is not None:
                low, high = (str(dataset["name"].values[place]) for place in (move.low, move.high))
                lines.append(
                    f"{question}, {recipe}, {move.case}: last / least is {factor(move.by)} times as large for {high} "
                    f"as for {low}, over {move.by.seeds} seeds; excess {_range(dataset, move, 'excess')} of zero."
                )
        lines.append(f"  {question}: {dataset.attrs[f'{question}: recipes']}.")
    return [*lines, *few_seeds(min((move.by.seeds for of in moves.values() for move in of), default=0))]
