"""`python -m experiments.mitigations`."""

import sys

from .experiment import main

sys.exit(main())
