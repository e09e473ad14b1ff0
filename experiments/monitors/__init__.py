"""Which monitor tells the truth? Alarms during pre-training against the budgets at which it turns harmful."""

from .experiment import Config, main, run

__all__ = ["Config", "main", "run"]
