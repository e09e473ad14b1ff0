"""`python -m experiments.superposition`."""

import sys

from .experiment import main

sys.exit(main())
