"""`python -m experiments.transformer`."""

import sys

from .experiment import main

sys.exit(main())
