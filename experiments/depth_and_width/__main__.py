"""`python -m experiments.depth_and_width`."""

import sys

from .experiment import main

sys.exit(main())
