"""Peers side by side in one run: `python -m benchmarks.NAME`. Only the ratios mean anything on another machine."""
