"""`python -m experiments.tuned_rate`."""

import sys

from .experiment import main

sys.exit(main())
