"""How does harm depend on anything else that can be varied, beside fine-tuning rate and regularisation?"""

from .axes import Config
from .experiment import experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
