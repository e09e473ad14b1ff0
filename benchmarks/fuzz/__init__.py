"""Fuzzing: configurations, data files, checkpoints, stores and the Python API, with whatever nobody thought of."""
