"""Closed forms of size and data: exact scaling laws on power-law spectra, what is best at one compute, and fits."""
