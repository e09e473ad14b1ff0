"""`python -m experiments.sweep`."""

import sys

from .experiment import main

sys.exit(main())
