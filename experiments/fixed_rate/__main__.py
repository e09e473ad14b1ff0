"""`python -m experiments.fixed_rate`."""

import sys

from .experiment import main

sys.exit(main())
