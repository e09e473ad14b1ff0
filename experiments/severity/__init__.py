"""Do the training objective, the optimiser or the data distribution change the severity of overtraining?"""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
