"""`python -m experiments.tasks_in_turn`."""

import sys

from .experiment import main

sys.exit(main())
