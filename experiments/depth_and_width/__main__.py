"""`python -m experiments.depth_and_width`."""

import sys

from experiments.depth_and_width.experiment import main

sys.exit(main())
