"""`python -m experiments.three_phases`."""

import sys

from .experiment import main

sys.exit(main())
