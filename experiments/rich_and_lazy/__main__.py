"""`python -m experiments.rich_and_lazy`."""

import sys

from .experiment import main

sys.exit(main())
