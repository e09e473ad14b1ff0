"""How does harm depend on anything else that can be swept, beside fine-tuning rate and regularisation?"""

from .experiment import Config, main, run
from .summary import summarise

__all__ = ["Config", "main", "run", "summarise"]
