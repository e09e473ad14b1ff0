"""Closed forms of optimisers other than plain descent, and of what all of them share."""
