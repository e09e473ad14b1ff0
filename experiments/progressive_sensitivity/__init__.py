"""Does sensitivity to noise on the weights grow along pre-training, until the loss under noise turns up?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
