"""`python -m experiments.sweep`."""

import sys

from experiments.sweep.experiment import main

sys.exit(main())
