"""Of two checkpoints, one pre-trained 30 % longer: when is it better before fine-tuning and worse after it?"""

from experiments.checkpoint_pair.experiment import CLAIMS, Config, main, run
from experiments.checkpoint_pair.summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
