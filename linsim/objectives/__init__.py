"""Objectives other than squared error: what a task of finitely many contexts minimises, one value each."""
