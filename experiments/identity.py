"""What a configuration stands for: the content of the files that it names, the code that it names, and all source."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from linsim.commands.config import as_json
from linsim.commands.flags import flags_of
from linsim.commands.named import named
from linsim.errors import InvalidInput
from linsim.storage.fingerprint import digest, fingerprint
from linsim.storage.identity import Identity, content
from linsim.storage.provenance import deciding
from linsim.storage.sources import sources

_NAMED = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*):([A-Za-z_]\w*)(?:@.*)?")
"""MODULE:NAME, and of a measure its place."""


def files_named(config: Any) -> dict[str, str]:
    """Every field that is a path -> a digest of what is there."""
    given = {flag.field: flag.default for flag in flags_of(config)}
    return {name: content(value) for name, value in given.items() if isinstance(value, Path)}


def identity(experiment: str, config: Any, inputs: Mapping[str, str], makers: list[Callable[..., Any]]) -> Identity:
    """What a result of a configuration is of.

    Args:
      experiment: its name.
      config: frozen dataclass.
      inputs: content of what it names, beside the code.
      makers: functions that make the result, whose modules are where the source begins.
    """
    told = json.loads(as_json(config))
    code = dict(_code_named(told))
    modules = [maker.__module__ for maker in makers] + [text.partition(":")[0] for text in code]
    return Identity(
        experiment,
        told,
        {**inputs, **{f"named.{text}": what for text, what in code.items()}},
        sources(modules),
        deciding(),
    )


def _code_named(told: Any) -> Iterator[tuple[str, str]]:
    """MODULE:NAME -> a digest of what stands there, with the data that it computes with; errors are told later."""
    for text in _texts(told):
        if found := _NAMED.fullmatch(text):
            name = f"{found[1]}:{found[2]}"
            try:
                yield name, digest(fingerprint({"value": named("named", name)}))
            except (InvalidInput, RecursionError):
                yield name, "unknown"


def _texts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict | list):
        for each in told.values() if isinstance(told, dict) else told:
            yield from _texts(each)
