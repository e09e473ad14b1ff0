"""What tests of figures share: the words of a picture, drawing it in full, and drawing it again."""

from matplotlib.text import Text

from figures import __main__ as command
from linsim.storage import store


def words(drawn):
    """Every text of a figure, its line breaks and fixed spaces as spaces."""
    texts = " | ".join(text.get_text() for text in drawn.findobj(Text))
    return texts.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


def in_full(drawn):
    """The figure after layout and ticks, which only drawing makes; coarse, so that it takes no time."""
    drawn.set_dpi(30)
    drawn.canvas.draw()
    return drawn


def assert_redrawn(figure, dataset, folder):
    """A stored result is redrawn from the command line with the bytes of the picture that Python saves."""
    store.save(dataset, folder / "result")
    first = figure.save(dataset, folder / "a")
    name = figure.picture.name
    assert command.main([name, "--data", str(folder / "result"), "--out", str(folder / "b")]) == 0
    for path in first:
        assert path.read_bytes() == (folder / "b" / path.name).read_bytes()
