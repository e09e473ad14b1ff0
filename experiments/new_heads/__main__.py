"""`python -m experiments.new_heads`."""

import sys

from .experiment import main

sys.exit(main())
