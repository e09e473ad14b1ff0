"""`python -m experiments.regularization`."""

import sys

from experiments.regularization.experiment import main

sys.exit(main())
