"""Does more pre-training still harm where the fine-tuning rate is tuned for every checkpoint, or tuning stops early?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
