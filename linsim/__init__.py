"""A laboratory for catastrophic overtraining in linear networks: the public names.

Names are imported when they are first used, so that reading a stored result needs no JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linsim.claims.claim import Claim as Claim
    from linsim.claims.claim import Outside as Outside
    from linsim.claims.claim import Variant as Variant
    from linsim.claims.judge import judge as judge
    from linsim.dynamics.choosing import choose as choose
    from linsim.dynamics.matrices.matrix_flow import matrix_flow as matrix_flow
    from linsim.dynamics.modes.deep_mode_flow import deep_mode_flow as deep_mode_flow
    from linsim.dynamics.modes.mode_flow import mode_flow as mode_flow
    from linsim.dynamics.modes.mode_flow import rise_time as rise_time
    from linsim.dynamics.training import Session as Session
    from linsim.errors import InvalidInput as InvalidInput
    from linsim.errors import RunFailed as RunFailed
    from linsim.losses import population_loss as population_loss
    from linsim.measures.sensitivity import expected_loss as expected_loss
    from linsim.monitoring.alarm import Alarm as Alarm
    from linsim.monitoring.measuring import Monitor as Monitor
    from linsim.monitoring.predictive import CROSS_ENTROPY as CROSS_ENTROPY
    from linsim.monitoring.predictive import SQUARED_ERROR as SQUARED_ERROR
    from linsim.monitoring.predictive import Predictive as Predictive
    from linsim.monitoring.record import Record as Record
    from linsim.monitoring.record import Watch as Watch
    from linsim.network import LinearNetwork as LinearNetwork
    from linsim.network import aligned as aligned
    from linsim.network import balanced as balanced
    from linsim.network import gaussian as gaussian
    from linsim.network import identity as identity
    from linsim.network import lambda_balanced as lambda_balanced
    from linsim.network import rank_checkpoint as rank_checkpoint
    from linsim.phase import Phase as Phase
    from linsim.problem import Problem as Problem
    from linsim.problem import stack_seeds as stack_seeds
    from linsim.shifts import Blend as Blend
    from linsim.shifts import NewModes as NewModes
    from linsim.shifts import Permute as Permute
    from linsim.shifts import Rescale as Rescale
    from linsim.shifts import Rotate as Rotate
    from linsim.shifts import ZeroModes as ZeroModes
    from linsim.shifts import shifted as shifted
    from linsim.spectra import explicit as explicit
    from linsim.spectra import exponential as exponential
    from linsim.spectra import flat_blocks as flat_blocks
    from linsim.spectra import power_law as power_law
    from linsim.storage.store import load as load
    from linsim.sweeping.sweep import chart as chart
    from linsim.tasks import LinearTask as LinearTask
    from linsim.tasks import Transfer as Transfer
    from linsim.tasks import power_covariance as power_covariance
    from linsim.tasks import random_basis as random_basis
    from linsim.theory.inflection import locate as locate
    from linsim.theory.noise_turning import noise_inflection as noise_inflection
    from linsim.theory.prediction import predict as predict
    from linsim.theory.stages import critical_time as critical_time
    from linsim.theory.stages import misaligned as misaligned
    from linsim.theory.stages import stage_losses as stage_losses
    from linsim.theory.stages import tuned as tuned
    from linsim.theory.stages import tuned_limit as tuned_limit

_ROOMS = {
    "claims.claim": ("Claim", "Outside", "Variant"),
    "claims.judge": ("judge",),
    "dynamics.choosing": ("choose",),
    "dynamics.modes.deep_mode_flow": ("deep_mode_flow",),
    "dynamics.matrices.matrix_flow": ("matrix_flow",),
    "dynamics.modes.mode_flow": ("mode_flow", "rise_time"),
    "errors": ("InvalidInput", "RunFailed"),
    "theory.inflection": ("locate",),
    "losses": ("population_loss",),
    "monitoring.alarm": ("Alarm",),
    "monitoring.measuring": ("Monitor",),
    "monitoring.predictive": ("CROSS_ENTROPY", "SQUARED_ERROR", "Predictive"),
    "monitoring.record": ("Record", "Watch"),
    "network": ("LinearNetwork", "aligned", "balanced", "gaussian", "identity", "lambda_balanced", "rank_checkpoint"),
    "theory.noise_turning": ("noise_inflection",),
    "phase": ("Phase",),
    "theory.prediction": ("predict",),
    "problem": ("Problem", "stack_seeds"),
    "measures.sensitivity": ("expected_loss",),
    "shifts": ("Blend", "NewModes", "Permute", "Rescale", "Rotate", "ZeroModes", "shifted"),
    "spectra": ("explicit", "exponential", "flat_blocks", "power_law"),
    "theory.stages": ("critical_time", "misaligned", "stage_losses", "tuned", "tuned_limit"),
    "storage.store": ("load",),
    "sweeping.sweep": ("chart",),
    "tasks": ("LinearTask", "Transfer", "power_covariance", "random_basis"),
    "dynamics.training": ("Session",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__version__ = "0.1.0"
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'linsim' has no attribute {name!r}")
    return getattr(import_module(f"linsim.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
