"""`python -m experiments.incremental_learning`."""

import sys

from .experiment import main

sys.exit(main())
