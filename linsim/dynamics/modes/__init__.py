"""Coordinates of aligned problems: every singular mode a scalar chain, by descent and in closed form."""
