"""One module a figure: a stored dataset becomes a picture, without JAX."""
