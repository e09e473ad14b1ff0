"""What does a regulariser of fine-tuning do to catastrophic overtraining, and what does it cost in fine-tuning loss?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
