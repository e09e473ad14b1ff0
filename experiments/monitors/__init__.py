"""Which monitor tells the truth? Alarms during pre-training against the budgets at which it turns harmful."""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
