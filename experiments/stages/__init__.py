"""Which learned feature turns fine-tuning into harm? The budget counted in features learned instead of steps."""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
