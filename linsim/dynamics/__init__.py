"""How weights move: one file a solver, one signature for all (see solver.py)."""
