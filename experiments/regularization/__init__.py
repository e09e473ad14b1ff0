"""What does a regulariser of fine-tuning do to catastrophic overtraining, and what does it cost in fine-tuning loss?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
