"""Command lines: configurations, and what is said on a terminal."""
