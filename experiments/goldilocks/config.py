"""The settings: spectra, sizes, what is done to a checkpoint, and at which costs and utilities it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from linsim.errors import require, require_axis, require_integer, require_number

from .spectra import DIGITS

CLAIMS = (
    *("size-data-law", "data-limited-law", "compute-optimal-line", "price-of-overtraining", "inference-share"),
    *("noise-turn-is-flow-time", "small-models-turn-last", "larger-is-more-brittle", "tail-covariance"),
)


@dataclass(frozen=True)
class MatricesConfig:
    """Networks of matrices from Gaussian starts, beside the modes that stand for aligned ones."""

    dim: int = 32
    """Inputs and outputs; 0 leaves these networks out."""
    exponent: float = 1.0
    """a of their task."""
    widths: tuple[int, ...] = (3, 7, 15, 30)
    """Widths of the hidden layer, increasing."""
    seeds: int = 3
    """Number of initial weights, and of samples."""
    initial_scale: float = 0.01
    """Standard deviation of the initial weights, times the square root of their inputs."""
    learning_rate: float = 0.1
    """Of pre-training, in flow time per step."""
    last: float = 300.0
    """Largest flow time."""
    budgets: int = 24
    """Number of budgets, spaced evenly in the logarithm."""
    finetune_steps: int = 80
    """Steps of fine-tuning."""
    bits: tuple[int, ...] = (3, 4, 6)
    """Bits that weights are rounded to."""
    examples: tuple[int, ...] = (100, 400, 1600)
    """Sizes of the samples, each seen again and again; empty for none."""
    label_noise: float = 0.5
    """Standard deviation of the noise on each output of an example."""


@dataclass(frozen=True)
class Config:
    """Models that learn the first N modes of a task, at any budget."""

    exponents: tuple[float, ...] = (0.75, 1.0, 1.5)
    """a > 1/2 of tasks with sigma_i = i^-a, increasing; compute-optimal data per parameter are constant at a = 1."""
    digits: bool = True
    """Also the measured spectrum of handwritten digits, the pixels from their whitened principal components."""
    modes: int = 256
    """Modes that are simulated: the size of the largest model."""
    sizes: tuple[int, ...] = (3, 7, 15, 30, 60)
    """N that are shown, increasing."""
    start: float = 1e-3
    """s_0/sigma_i of every mode."""
    depths: tuple[int, ...] = (1, 2, 3, 4)
    """Numbers of layers of which the base loss is told; whatever else is of two."""
    learning_rate: float = 0.02
    """Of pre-training, in flow time per step."""
    last: float = 10_000.0
    """Largest flow time D."""
    budgets: int = 72
    """Number of budgets, spaced evenly in the logarithm."""
    price: float = 0.05
    """G of noise on the weights, gamma^2 (d_in + d_out)."""
    shifted_from: int = 8
    """n0: the first mode that fine-tuning multiplies."""
    factor: float = 4.0
    """By which it does."""
    times: tuple[float, ...] = (0.4, 1.0, 4.0)
    """Flow times T of fine-tuning, increasing."""
    finetune_steps: int = 400
    """Steps of fine-tuning."""
    compute: tuple[float, ...] = (100.0, 300.0, 1000.0, 3000.0, 10_000.0)
    """C = N D, increasing."""
    utilities: tuple[float, ...] = (0.0, 0.03, 0.1, 0.2, 0.3, 1.0, 3.0)
    """u >= 0 of the utility L_pre + u L_ft after fine-tuning, increasing."""
    inference: tuple[float, ...] = (0.0, 10.0, 100.0)
    """q of the total cost N D + q N, in flow time, increasing; 0 comes first."""
    matrices: MatricesConfig = field(default_factory=MatricesConfig)
    fits: int = 24
    """Starts of every fit of a scaling law; 0 for none."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks."""
        return (*(f"a = {exponent:g}" for exponent in self.exponents), *[DIGITS] * self.digits)


def check(config: Config) -> None:
    """Raise `InvalidInput` for a field outside its domain."""
    require_axis("exponents", config.exponents, above=0.5)
    require_integer("modes", config.modes, at_least=2, at_most=10**4)
    require_axis("sizes", config.sizes, at_least=1)
    for size in config.sizes:
        require_integer("sizes", size, at_least=1, at_most=config.modes)
    require_number("start", config.start, at_least=1e-9, at_most=0.1)
    require_axis("depths", config.depths, at_least=1)
    for depth in config.depths:
        require_integer("depths", depth, at_least=1, at_most=8)
    require(2 in config.depths, "depths", config.depths, "depths with 2 among them, of which all else is told")
    require_number("learning_rate", config.learning_rate, above=0, at_most=0.2)
    require_number("last", config.last, at_least=10, at_most=1e6)
    require_integer("budgets", config.budgets, at_least=8, at_most=1000)
    require_number("price", config.price, above=0, below=1)
    require_integer("shifted_from", config.shifted_from, at_least=1, at_most=config.modes)
    require_number("factor", config.factor, above=0, at_most=100)
    require_axis("times", config.times, above=0)
    require_integer("finetune_steps", config.finetune_steps, at_least=1, at_most=10**6)
    require_axis("compute", config.compute, above=0)
    least = 2 * _first(config)
    require(config.compute[0] >= least, "compute", config.compute[0], f"compute for two sizes, >= {least:g}")
    require_axis("utilities", config.utilities, at_least=0)
    require_axis("inference", config.inference, at_least=0)
    most = config.compute[-1] / 2 - _first(config)
    require(config.inference[0] == 0, "inference", config.inference, "0 first")
    told = "inference", config.inference, f"0 first, and at most {most:g}: the largest compute is for two sizes"
    if config.inference == Config.inference:  # which nobody asked for
        needed = 2 * (config.inference[-1] + _first(config))
        told = "compute", config.compute, f"{needed:g} at least as the largest, or smaller --inference than the default"
    require(config.inference[-1] <= most, *told)
    require_integer("fits", config.fits, at_least=0, at_most=1000)
    _check_matrices(config.matrices)


def _first(config: Config) -> float:
    """The smallest flow time of a budget."""
    return max(FIRST, config.learning_rate)


FIRST = 0.3
"""Smallest flow time of pre-training."""


def _check_matrices(config: MatricesConfig) -> None:
    if config.dim == 0:
        return
    require_integer("matrices.dim", config.dim, at_least=2, at_most=2048)
    require_number("matrices.exponent", config.exponent, above=0.5, at_most=10)
    require_axis("matrices.widths", config.widths, at_least=1)
    for width in config.widths:
        require_integer("matrices.widths", width, at_least=1, at_most=config.dim)
    require_integer("matrices.seeds", config.seeds, at_least=1, at_most=1000)
    require_number("matrices.initial_scale", config.initial_scale, above=0, at_most=1)
    require_number("matrices.learning_rate", config.learning_rate, above=0, at_most=0.2)
    require_number("matrices.last", config.last, at_least=10, at_most=1e6)
    require_integer("matrices.budgets", config.budgets, at_least=8, at_most=1000)
    require_integer("matrices.finetune_steps", config.finetune_steps, at_least=1, at_most=10**6)
    require_axis("matrices.bits", config.bits, at_least=2)
    if config.examples:
        require_axis("matrices.examples", config.examples, at_least=config.dim)
    require_number("matrices.label_noise", config.label_noise, at_least=0, at_most=100)
