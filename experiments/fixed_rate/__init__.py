"""At a fixed fine-tuning rate, on which shifts of the task does more pre-training make the fine-tuned model worse?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
