"""`python -m experiments.checkpoint_pair`."""

import sys

from experiments.checkpoint_pair.experiment import main

sys.exit(main())
