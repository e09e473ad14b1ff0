"""Which learned feature turns fine-tuning into harm? The budget counted in features learned instead of steps."""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
