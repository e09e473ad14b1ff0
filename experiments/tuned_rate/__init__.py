"""Does more pre-training still harm where the fine-tuning rate is tuned for every checkpoint, or tuning stops early?"""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
