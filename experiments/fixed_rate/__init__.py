"""At a fixed fine-tuning rate, on which shifts of the task does more pre-training make the fine-tuned model worse?"""

from experiments.fixed_rate.experiment import CLAIMS, Config, main, run
from experiments.fixed_rate.summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
