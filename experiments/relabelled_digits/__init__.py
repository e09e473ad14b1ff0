"""Are margins harder to unlearn on handwritten digits, too?"""

from .experiment import Config, experiment, main, run

__all__ = ["Config", "experiment", "main", "run"]
