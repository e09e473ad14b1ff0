"""What is asked of a finished sweep: of another solver, of moved weights, of the curvature on the way."""
