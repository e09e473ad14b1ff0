"""Pages to explore and to play with, beside those of the documentation: the theory, and results that come with it."""

from pathlib import Path

from figures.gallery import STORED
from linsim.storage import store
from pages import explorer, theory
from pages.page import write


def write_all(folder: Path) -> None:
    """Write theory.html, and the page of every stored result."""
    write(theory.page(theory.at_hand()), folder / "theory.html")
    for place in sorted(STORED.iterdir()):
        explorer.save(store.load(place), folder, place.name)
