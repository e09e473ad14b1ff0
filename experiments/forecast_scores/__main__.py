"""`python -m experiments.forecast_scores`."""

import sys

from .experiment import main

sys.exit(main())
