"""`python -m experiments.monitors`."""

import sys

from .experiment import main

sys.exit(main())
