"""Does more pre-training without labels hurt the representation once a new head is trained on it?"""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
