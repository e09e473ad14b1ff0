"""Does lazy pre-training avoid catastrophic overtraining?"""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
