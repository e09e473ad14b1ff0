"""Will more pre-training hurt, and from when on: a forecast from a table of losses."""

from .experiment import CLAIMS, Config, experiment, main, run

__all__ = ["CLAIMS", "Config", "experiment", "main", "run"]
