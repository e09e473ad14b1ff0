"""What does a network forget while it learns tasks in turn: by their similarity, over four of them, on reversal?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
