"""A small transformer on a synthetic language: what of the linear theory is found beyond linear networks."""

from .config import Config
from .experiment import build, experiment, main, run

__all__ = ["Config", "build", "experiment", "main", "run"]
