"""`python -m experiments.incremental_learning`."""

import sys

from experiments.incremental_learning.experiment import main

sys.exit(main())
