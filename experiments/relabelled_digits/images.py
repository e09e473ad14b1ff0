"""Images that are trained on and images that are held out, and the tasks that both pose before and after a shift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linsim.objectives.examples import classified
from linsim.tasks import LinearTask, Transfer

from ..digits import CLASSES, load

SQUARED, HARD, SMOOTHED = "squared error", "hard labels", "smoothed labels"
OBJECTIVES = (SQUARED, HARD, SMOOTHED)
RELABELLED, NEW = "relabelled", "new digits"
SHIFTS = (RELABELLED, NEW)


class Pictures(NamedTuple):
    """Images by their principal components, with their digits."""

    pixels: Float[np.ndarray, "images components"]
    digits: Int[np.ndarray, " images"]

    def of(self, which: Int[np.ndarray, " some"]) -> Pictures:
        """Those of some digits."""
        some = np.isin(self.digits, which)
        return Pictures(self.pixels[some], self.digits[some])


class Sample(NamedTuple):
    """One draw: which images are trained on, and which half of the digits the shift is about."""

    trained: Pictures
    heldout: Pictures
    half: Int[np.ndarray, " half"]
    """In the order in which they take each other's labels."""


@dataclass(frozen=True)
class Images:
    """What all samples have in common."""

    per_digit: int
    """Images of each digit that are trained on; all others are held out."""
    components: int
    """Principal components of the images that are trained on, which are the inputs."""
    smoothing: float
    seed: int

    @cached_property
    def all(self) -> tuple[Float[np.ndarray, "images pixels"], Int[np.ndarray, " images"]]:
        """Grey values, and digits."""
        return load()

    def sample(self, number: int) -> Sample:
        """A split with as many images of every digit, centred by what is trained on."""
        rng = np.random.default_rng([self.seed, number])
        pixels, digits = self.all
        trained = np.zeros(len(digits), bool)
        for digit in range(CLASSES):
            trained[rng.permutation(np.flatnonzero(digits == digit))[: self.per_digit]] = True
        mean = pixels[trained].mean(axis=0)
        _, _, directions = np.linalg.svd(pixels[trained] - mean, full_matrices=False)
        inputs = (pixels - mean) @ directions[: self.components].T
        half = rng.permutation(CLASSES)[: CLASSES // 2]
        seen, heldout = (Pictures(inputs[some], digits[some]) for some in (trained, ~trained))
        return Sample(seen, heldout, half)

    def pair(self, pictures: Pictures, half: Int[np.ndarray, " half"], shift: str) -> tuple[Pictures, Pictures]:
        """What is to be told before and after a shift: of half of the digits other names, or other digits."""
        if shift == NEW:
            return pictures.of(np.setdiff1d(np.arange(CLASSES), half)), pictures.of(half)
        names = np.arange(CLASSES)
        names[half] = np.roll(half, -1)
        return pictures, pictures._replace(digits=names[pictures.digits])

    def task(self, pictures: Pictures, objective: str) -> LinearTask:
        """Of a network without biases: labels, or as outputs of squared error hard labels less their mean."""
        pixels, digits = pictures
        if objective == SQUARED:
            return LinearTask.from_data(pixels, np.eye(CLASSES)[digits] - 1 / CLASSES)
        return classified(pixels, digits, CLASSES, self.smoothing if objective == SMOOTHED else 0.0)

    def kept(self, sample: Sample) -> Pictures:
        """Of the images that are trained on, those of digits that no shift is about."""
        return sample.trained.of(np.setdiff1d(np.arange(CLASSES), sample.half))

    def transfer(self, sample: Sample, objective: str, shift: str) -> Transfer:
        """Both tasks on the images that are trained on."""
        return Transfer(*(self.task(each, objective) for each in self.pair(sample.trained, sample.half, shift)))


class Judged(NamedTuple):
    """Losses and errors on some images, of one task."""

    task: LinearTask
    pictures: Pictures

    def loss(self, products: Float[np.ndarray, "*runs d_out d_in"]) -> Float[np.ndarray, "*runs"]:
        """Mean over images; of squared error with what no linear map tells, of labels above their entropy."""
        return self.task.loss_of(products) + self.task.outputs * self.task.label_noise**2

    def errors(self, products: Float[np.ndarray, "*runs d_out d_in"]) -> Float[np.ndarray, "*runs"]:
        """Share of the images whose largest output is of another digit; NaN where a run diverged."""
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = products @ self.pictures.pixels.T
        wrong = (outputs.argmax(axis=-2) != self.pictures.digits).mean(axis=-1)
        return np.where(np.isfinite(products).all(axis=(-2, -1)), wrong, np.nan)
