"""The claims, a theme a file."""
