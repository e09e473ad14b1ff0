"""At a fixed fine-tuning rate, on which shifts of the task does more pre-training make the fine-tuned model worse?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
