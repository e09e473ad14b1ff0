"""How does harm depend on anything else that can be swept, beside fine-tuning rate and regularisation?"""

from experiments.sweep.experiment import Config, main, run
from experiments.sweep.summary import summarise

__all__ = ["Config", "main", "run", "summarise"]
