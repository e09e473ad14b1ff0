"""`python -m experiments.relabelled_digits`."""

import sys

from .experiment import main

sys.exit(main())
