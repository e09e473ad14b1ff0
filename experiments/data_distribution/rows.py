"""The axes: what is varied of the data, over which values, and the tasks that a value makes. One more is one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from linsim.objectives.cross_entropy import zipf
from linsim.spectra import power_law
from linsim.tasks import LinearTask, random_basis


class Tasks(NamedTuple):
    """What one value of an axis poses."""

    trained: LinearTask
    """What pre-training descends: a sample, or the classes that are covered."""
    judged: LinearTask
    """The pre-training task itself, by which base losses are told."""
    finetune: LinearTask
    """The shifted task."""
    matched: LinearTask
    """The same where pre-training has been: what is left of its loss is what equal effort fixes."""
    shifted: np.ndarray
    """Modes of it, by number from 0, that the shift moves and pre-training has seen."""

    @property
    def reach(self) -> np.ndarray:
        """sigma_i v_i' S v_i of those modes: times T it is compared with kappa(c)."""
        seen = self.judged.right[:, self.shifted]
        return self.judged.strengths[self.shifted] * np.einsum(
            "im,ij,jm->m", seen, self.finetune.input_covariance, seen
        )


@dataclass(frozen=True)
class Common:
    """What stays where it is not varied."""

    dim: int
    """Inputs, outputs and modes, or classes."""
    exponent: float
    """Strengths are i^(-exponent)."""
    shifted_from: int
    """First mode, or class, that fine-tuning multiplies."""
    factor: float
    """By which it does: c."""
    zipf: float
    """Class c has the frequency ~ c^(-zipf)."""
    examples: int
    noise: float
    """Standard deviation of the noise on each output of an example."""

    def modes(
        self,
        rng: np.random.Generator,
        exponent: float | None = None,
        variance: float = 0.0,
        shared: bool = True,
    ) -> Tasks:
        """Strengths i^(-exponent) in random bases, weaker ones shifted; inputs of variance ~ i^(-variance).

        Their directions are the task's, or random ones where they are not shared.
        """
        left, right, other = (random_basis(self.dim, rng) for _ in "abc")
        strengths = power_law(self.dim, 1.0, self.exponent if exponent is None else exponent)
        directions = right if shared else other
        variances = np.arange(1.0, self.dim + 1) ** -variance
        covariance = (directions * (variances / variances.mean())) @ directions.T if variance else np.eye(self.dim)
        task = LinearTask.create(strengths, left=left, right=right, input_covariance=(covariance + covariance.T) / 2)
        return self._shifted(task, np.arange(self.shifted_from - 1, self.dim))

    def sampled(self, rng: np.random.Generator, examples: float, noise: float, orthogonal: bool = False) -> Tasks:
        """Pre-training on noisy examples of those modes, infinitely many or a few."""
        tasks = self.modes(rng)
        if not np.isfinite(examples):
            return tasks
        kind = "orthogonal" if orthogonal else "normal"
        return tasks._replace(trained=tasks.judged.posed(int(examples), noise, rng, kind))  # type: ignore[arg-type]

    def classes(
        self, rng: np.random.Generator, exponent: float | None = None, rare: bool = True, covered: float = 1.0
    ) -> Tasks:
        """One-hot classes with orthogonal answers of one size; the rare or the frequent half is shifted.

        Frequencies have the mean 1, as variances have. Of a share that is covered the classes are spread evenly over
        the frequencies, and pre-training has only those, as many examples in all.
        """
        frequencies = self.dim * zipf(self.dim, self.zipf if exponent is None else exponent)
        task = LinearTask.create(
            np.ones(self.dim), left=random_basis(self.dim, rng), input_covariance=np.diag(frequencies)
        )
        half = self.dim // 2
        tasks = self._shifted(task, np.arange(half, self.dim) if rare else np.arange(half))
        count = max(round(covered * self.dim), 1)
        if count == self.dim:
            return tasks
        kept = np.isin(np.arange(self.dim), ((np.arange(count) + 0.5) * self.dim / count).astype(int))
        met = np.where(kept, frequencies, 0.0)
        seen = replace(task, input_covariance=np.diag(met * (self.dim / met.sum())))
        matched = replace(tasks.finetune, input_covariance=np.diag(met))
        return tasks._replace(trained=seen, matched=matched, shifted=tasks.shifted[kept[tasks.shifted]])

    def _shifted(self, task: LinearTask, modes: np.ndarray) -> Tasks:
        strengths = task.strengths.copy()
        strengths[modes] *= self.factor
        finetune = replace(task, strengths=strengths)
        return Tasks(task, task, finetune, finetune, modes)


@dataclass(frozen=True)
class Row:
    """An axis of the data."""

    name: str
    """As flags and results say it."""
    title: str
    """As sentences and pictures say it."""
    unit: str
    """What a value is."""
    values: tuple[float, ...]
    """From one end to the other."""
    make: Callable[[Common, float, np.random.Generator], Tasks]
    """Common, a value, draws -> tasks."""
    drawn: bool = False
    """Whether seeds differ in more than the bases of the task: in a sample, or in random directions."""


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            *("spectrum", "the spectrum", "exponent", (0.25, 0.5, 1.0, 1.5, 2.0)),
            lambda common, value, rng: common.modes(rng, exponent=value),
        ),
        Row(
            *("own_inputs", "input variance along the task's modes", "exponent", (-1.0, -0.5, 0.0, 0.5, 1.0)),
            lambda common, value, rng: common.modes(rng, variance=value),
        ),
        Row(
            *("other_inputs", "input variance along random directions", "exponent", (0.0, 0.5, 1.0, 2.0)),
            lambda common, value, rng: common.modes(rng, variance=value, shared=False),
            drawn=True,
        ),
        Row(
            *("rare_classes", "imbalance of classes, rare ones shifted", "Zipf exponent", (0.0, 0.5, 1.0, 1.5)),
            lambda common, value, rng: common.classes(rng, value),
        ),
        Row(
            *("common_classes", "imbalance of classes, common ones shifted", "Zipf exponent", (0.0, 0.5, 1.0, 1.5)),
            lambda common, value, rng: common.classes(rng, value, rare=False),
        ),
        Row(
            *("label_noise", "label noise", "standard deviation", (0.0, 0.25, 0.5, 1.0)),
            lambda common, value, rng: common.sampled(rng, common.examples, value, orthogonal=True),
            drawn=True,
        ),
        Row(
            *("sample_size", "the sample size", "examples", (np.inf, 64, 32, 16)),
            lambda common, value, rng: common.sampled(rng, value, common.noise),
            drawn=True,
        ),
        Row(
            *("coverage", "coverage of the classes", "share seen", (1.0, 0.75, 0.5, 0.25)),
            lambda common, value, rng: common.classes(rng, covered=value),
        ),
    )
}
"""All axes, by name."""
