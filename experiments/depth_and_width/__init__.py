"""Where does overtraining start, and how bad does it get, over depth and over width?"""

from experiments.depth_and_width.experiment import CLAIMS, Config, main, run
from experiments.depth_and_width.summary import summarise

__all__ = ["CLAIMS", "Config", "main", "run", "summarise"]
