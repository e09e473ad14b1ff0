"""A small transformer on a synthetic language: what of the linear theory is found beyond linear networks."""

from .config import Config
from .experiment import build, main, run

__all__ = ["Config", "build", "main", "run"]
