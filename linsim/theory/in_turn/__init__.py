"""Closed forms of tasks that are learned in turn: what a new head makes a network forget, and reversal."""
