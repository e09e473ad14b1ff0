"""Does sensitivity to noise on the weights grow along pre-training, until the loss under noise turns up?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
