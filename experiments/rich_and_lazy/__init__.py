"""Does lazy pre-training avoid catastrophic overtraining?"""

from experiments.rich_and_lazy.experiment import CLAIMS, Config, main, run
from experiments.rich_and_lazy.summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
