"""`python -m experiments.rich_and_lazy`."""

import sys

from experiments.rich_and_lazy.experiment import main

sys.exit(main())
