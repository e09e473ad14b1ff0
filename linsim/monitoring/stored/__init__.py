"""Checkpoints that others saved: steps in their names, their formats, and what in them is a parameter."""
