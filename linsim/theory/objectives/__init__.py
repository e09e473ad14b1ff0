"""Closed forms under other objectives than squared error."""
