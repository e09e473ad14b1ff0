"""Does mixing the target's data into pre-training keep the target, and when?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
