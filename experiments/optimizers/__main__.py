"""`python -m experiments.optimizers`."""

import sys

from .experiment import main

sys.exit(main())
