"""Does more pre-training still harm where the fine-tuning rate is tuned for every checkpoint, or tuning stops early?"""

from experiments.tuned_rate.experiment import CLAIMS, Config, main, run
from experiments.tuned_rate.summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
