"""What is the forecast worth, in the prior and outside it, and what does stopping by it cost?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
