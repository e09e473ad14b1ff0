"""`python -m experiments.stages`."""

import sys

from .experiment import main

sys.exit(main())
