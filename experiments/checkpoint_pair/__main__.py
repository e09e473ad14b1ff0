"""`python -m experiments.checkpoint_pair`."""

import sys

from .experiment import main

sys.exit(main())
