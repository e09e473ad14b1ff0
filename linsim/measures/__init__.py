"""Measures of networks: exact where exact, else with a standard error."""
