"""Closed forms of what the data decide: spectrum, input variances, samples."""
