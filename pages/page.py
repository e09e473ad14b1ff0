"""A page in one file: its words, style, scripts and data inline, and leave to ask nobody for anything."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from linsim.errors import RunFailed
from linsim.storage.plain import write_whole

from .packing import as_script

_ASSETS = files(__package__) / "assets"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def asset(name: str) -> str:
    """The text of a file of the assets."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def assembled(title: str, body: str, scripts: Sequence[str], data: Mapping[str, Any]) -> str:
    """The whole text of a page.

    Args:
      title: of the window.
      body: name of the asset that holds what is inside <body>.
      scripts: names of assets, in the order in which they build on each other.
      data: what the scripts read, as JSON.
    """
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title>\n<style>\n{asset('style.css')}</style>\n</head>\n<body>",
        asset(body),
        f'<script type="application/json" id="data">{as_script(data)}</script>',
        "<script>\n(() => {\n'use strict';",
        *(asset(name) for name in scripts),
        "})();\n</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def write(text: str, file: Path) -> Path:
    """Write a page, into a folder that is made where there is none; it is there as a whole or not.

    Raises:
      RunFailed: it could not be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(text, file)
    except OSError as error:
        raise RunFailed(f"{file} ({error.strerror or error})") from error
    return file
