"""What does a regulariser of fine-tuning do to catastrophic overtraining, and what does it cost in fine-tuning loss?"""

from experiments.regularization.experiment import CLAIMS, Config, main, run
from experiments.regularization.summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
