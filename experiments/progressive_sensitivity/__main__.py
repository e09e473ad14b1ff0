"""`python -m experiments.progressive_sensitivity`."""

import sys

from .experiment import main

sys.exit(main())
