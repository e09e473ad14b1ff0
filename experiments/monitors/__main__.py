"""`python -m experiments.monitors`."""

import sys

from experiments.monitors.experiment import main

sys.exit(main())
