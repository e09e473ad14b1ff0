"""The command `linsim`: every experiment under its name, and what may be done with a result."""
