"""`python -m experiments.transformer`."""

import sys

from experiments.transformer.experiment import main

sys.exit(main())
