"""The reference: every public name, by the package that it comes from, with its docstring."""

import ast
import inspect
from collections.abc import Mapping
from pathlib import Path

import linsim

PACKAGES = {
    "": "Problems: tasks, shifts, networks, phases, measures",
    "dynamics": "Dynamics: training, and solutions in closed form",
    "sweeping": "Charts and sweeps",
    "theory": "Theory: where more pre-training harms",
    "measures": "Measures that are built in",
    "monitoring": "Monitors of a training run",
    "claims": "Claims",
    "storage": "Results on disk",
    "commands": "Pictures",
}
"""Package -> the title of its page; one that is not named here has its own name as the title."""


def pages(stub: Path) -> Mapping[str, str]:
    """A page for each package, and the index."""
    names = _names(stub)
    packages = [package for package in PACKAGES if package in names] + sorted(set(names) - set(PACKAGES))
    titles = {package: PACKAGES.get(package, package.capitalize()) for package in packages}
    written = {f"reference/{package or 'problems'}.md": _page(titles[package], names[package]) for package in packages}
    listed = "\n".join(package or "problems" for package in packages)
    return {**written, "reference/index.md": _INDEX.format(pages=listed)}


_INDEX = """\
# Reference

```python
import linsim as ls
```

Every public name, imported when it is used. The tests run the examples, which take `ls`, `np`, `jax` and `jnp` for
granted. Bad input raises {{class}}`linsim.InvalidInput`: the field, what was given, and what is allowed.

```{{toctree}}
{pages}
```
"""


def _names(stub: Path) -> dict[str, list[str]]:
    """Package -> its public names, as the stub lists them."""
    names: dict[str, list[str]] = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            package, inner, _ = (node.module or "").partition(".")
            names.setdefault(package if inner else "", []).extend(alias.name for alias in node.names)
    return names


def _page(title: str, names: list[str]) -> str:
    return "\n\n".join([f"# {title}", *map(_entry, names)]) + "\n"


def _entry(name: str) -> str:
    value = getattr(linsim, name)
    if inspect.isclass(value):
        directive = ["autoexception" if issubclass(value, Exception) else "autoclass", "   :members:"]
    else:
        directive = ["autofunction" if callable(value) else "autodata"]
    kind, *options = directive
    return "\n".join([f"## {name}", "", "```{eval-rst}", f".. {kind}:: linsim.{name}", *options, "```"])
