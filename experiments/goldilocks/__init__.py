"""Model size, budget and data: compute-optimal, best for its use, and over-trained, where the truth is known."""

from .config import CLAIMS, Config
from .experiment import experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
