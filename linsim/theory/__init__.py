"""Closed forms of where more pre-training begins to harm, and how it is found on curves."""
