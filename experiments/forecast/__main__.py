"""`python -m experiments.forecast`."""

import sys

from .experiment import main

sys.exit(main())
