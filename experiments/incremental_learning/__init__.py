"""Are singular values learned one after another, and what sharpens the steps: a small start, or depth?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
