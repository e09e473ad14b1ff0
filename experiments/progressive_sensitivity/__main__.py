"""`python -m experiments.progressive_sensitivity`."""

import sys

from experiments.progressive_sensitivity.experiment import main

sys.exit(main())
