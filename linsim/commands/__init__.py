"""Command lines: configurations, progress, and what is said on a terminal."""
