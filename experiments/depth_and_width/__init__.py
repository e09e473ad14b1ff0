"""Where does overtraining start, and how bad does it get, over depth and over width?"""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
