"""Does lazy pre-training avoid catastrophic overtraining?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
