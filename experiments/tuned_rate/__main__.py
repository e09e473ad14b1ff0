"""`python -m experiments.tuned_rate`."""

import sys

from experiments.tuned_rate.experiment import main

sys.exit(main())
