"""The page on which the theory is played with: the default problem in closed form, computed in the browser."""

from __future__ import annotations

from .page import assembled

SCRIPTS = ("scales.js", "plot.js", "state.js", "map.js", "table.js", "closed_form.js", "theory.js")


def page() -> str:
    """The text of the page."""
    return assembled("Play with the theory of catastrophic overtraining", "theory.html", SCRIPTS, {})
