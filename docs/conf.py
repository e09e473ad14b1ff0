"""How `make docs` builds the pages: what is generated first, from what, and how it looks."""

import logging
import sys
from importlib.metadata import version as version_of
from pathlib import Path

from jupyter_client import KernelManager

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]  # experiments, figures and docs are folders beside the package

project = "linsim"
author = copyright = "The linsim maintainers"
release = version = version_of("linsim")

extensions = [
    "myst_nb",  # pages in Markdown, and those with cells run as they are built
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "writers", "**/.ipynb_checkpoints"]
suppress_warnings = ["mystnb.unknown_mime_type"]  # cells of a pictureless terminal
nitpicky = True  # a reference that leads nowhere is an error of `make docs`

html_theme = "furo"
html_title = "linsim"
html_static_path = ["_static"]
html_css_files = ["linsim.css"]
html_copy_source = False
html_extra_path = ["generated/live"]  # pages of their own, which are copied as they are

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # what a cell prints depends on more than the cell
KernelManager.transport_encryption.default_value = "auto"  # or every kernel warns that it has none
logging.getLogger("traitlets").setLevel(logging.WARNING)  # or it tells of each page, through a handler of orbax's
nb_execution_raise_on_error = True
nb_execution_timeout = 300
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_typehints = "none"  # docstrings tell shapes and units
autodoc_member_order = "bysource"
toc_object_entries = False  # headings name them


def setup(app):
    """Have the generated pages written before any page is read."""
    from docs.writers import live, write_all
    from docs.writers.docstrings import for_sphinx

    live.write_all(Path(app.srcdir) / "generated/live")  # before Sphinx looks for the folder

    app.connect("autodoc-process-docstring", for_sphinx)
    app.connect("builder-inited", lambda app: write_all(Path(app.srcdir) / "generated"))
