"""How do sensitivity and curvature change over the checkpoints of a training run, and does the alarm ring?"""

from .config import Config
from .experiment import experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
