"""`python -m experiments.objectives`."""

import sys

from .experiment import main

sys.exit(main())
