"""Does the checkpoint that is best after one fine-tuning stay the best after the next?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
