"""`python -m experiments.data_distribution`."""

import sys

from .experiment import main

sys.exit(main())
