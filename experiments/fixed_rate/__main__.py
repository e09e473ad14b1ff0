"""`python -m experiments.fixed_rate`."""

import sys

from experiments.fixed_rate.experiment import main

sys.exit(main())
