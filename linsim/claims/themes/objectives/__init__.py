"""Claims about other objectives than squared error."""
