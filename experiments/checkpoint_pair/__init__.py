"""Of two checkpoints, one pre-trained 30 % longer: when is it better before fine-tuning and worse after it?"""

from .experiment import CLAIMS, Config, main, run
from .summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
