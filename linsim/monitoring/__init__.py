"""Sensitivity and curvature of any model along its training, and when to worry."""
