"""The settings of the transformer: its language, its training, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from linsim.monitoring.alarm import Alarm

from .language import Where
from .model import Shape


@dataclass(frozen=True)
class LanguageSettings:
    """The language, and how the one of fine-tuning differs."""

    tokens: int = 64
    """Vocabulary; there are tokens^2 contexts."""
    exponent: float = 1.0
    """Of Zipf's law: token k has a frequency proportional to k^-exponent."""
    last: float = 1.0
    """Standard deviation of the effect of the last token on the log-odds of the next."""
    context: float = 1.5
    """Standard deviation of the effect of the last two tokens together."""
    shift: float = 0.5
    """Share of the contexts whose effects are drawn again for fine-tuning."""
    where: Where = "any"
    """Which contexts these are: drawn at random, the rarest, or the most frequent."""


@dataclass(frozen=True)
class PretrainSettings:
    """Pre-training with Adam at a constant rate, once per seed to the largest budget."""

    learning_rate: float = 1e-3
    """Change of a parameter per step, about."""
    warmup: int = 50
    """Steps over which the rate rises linearly."""
    batch: int = 16
    """Sequences per step."""
    steps: int | None = None
    """Largest budget, in steps; default 6,000, with --longer 200,000."""
    first: int = 50
    """Smallest budget, in steps."""
    budgets: int | None = None
    """Number of budgets, spaced evenly in log(steps); default 11, with --longer 19."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Fine-tuning with Adam from every budget; the same recipe for all."""

    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3)
    """Constant rates, increasing."""
    warmup: int = 10
    """Steps over which the rate rises linearly."""
    batch: int = 16
    """Sequences per step."""
    steps: int = 100
    """Steps from each budget."""


@dataclass(frozen=True)
class NoiseSettings:
    """Gaussian noise on all parameters of every checkpoint."""

    absolute: tuple[float, ...] = (0.01, 0.02, 0.04)
    """Standard deviations; the initial weights have 0.1."""
    relative: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Standard deviations, in units of each array's root mean square."""
    pairs: int = 8
    """Antithetic pairs of noise per scale."""


@dataclass(frozen=True)
class MonitorSettings:
    """Monitors on text held out from training, the same for all checkpoints and seeds."""

    microbatches: int = 8
    """Independent samples of text, whose scatter is the standard error."""
    sequences: int = 8
    """In each microbatch."""
    probes: int = 2
    """Random probes of each microbatch."""
    noise: float = 0.1
    """Standard deviation of the monitor of noise, in units of each array's root mean square."""
    lanczos: int = 12
    """Most products with the Hessian for its largest eigenvalue."""


class Size(NamedTuple):
    """How much is computed."""

    steps: int
    """Largest budget of pre-training."""
    budgets: int
    seeds: int
    lanes: int
    """Runs that step together."""


@dataclass(frozen=True)
class Config:
    """A small transformer beyond its useful pre-training budget, if there is one."""

    longer: bool = False
    """The setting for a GPU: more steps, budgets and seeds where these are left to their defaults."""
    seeds: int | None = None
    """Number of runs, which differ in initial weights and text; default 3, with --longer 8."""
    seed: int = 0
    """Seed of everything drawn at random, the language included."""
    lanes: int | None = None
    """Runs that step together; default 1, with --longer 32."""
    evaluation: int = 256
    """Sequences on which losses are measured, the same for all checkpoints and seeds."""
    language: LanguageSettings = field(default_factory=LanguageSettings)
    model: Shape = field(default_factory=Shape)
    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    monitors: MonitorSettings = field(default_factory=MonitorSettings)
    alarm: Alarm = field(default_factory=Alarm)

    def size(self) -> Size:
        """What was asked for, with the defaults where it was left open."""
        defaults = Size(200_000, 19, 8, 32) if self.longer else Size(6000, 11, 3, 1)
        asked = self.pretrain.steps, self.pretrain.budgets, self.seeds, self.lanes
        return Size(*(default if value is None else value for value, default in zip(asked, defaults, strict=True)))
