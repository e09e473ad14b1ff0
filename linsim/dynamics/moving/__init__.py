"""What moves, where its gradient is taken, and what of it is evaluated: parts of a phase, for full matrices."""
