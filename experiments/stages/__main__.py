"""`python -m experiments.stages`."""

import sys

from experiments.stages.experiment import main

sys.exit(main())
