"""Does the data distribution change how severe overtraining is?"""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
