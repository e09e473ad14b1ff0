"""`python -m experiments.early_exposure`."""

import sys

from .experiment import main

sys.exit(main())
