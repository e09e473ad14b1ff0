"""Parts of phases of a user's own, by name: terms, averages, where the gradient is taken, what moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from linsim.commands.named import named
from linsim.errors import require
from linsim.phase import PARTS, Phase, Term


class Both(NamedTuple):
    """Two phases."""

    pretrain: Phase
    finetune: Phase


def with_parts(phases: Any, config: Any) -> Both:
    """The phases of a problem with the parts that a configuration names for each; `InvalidInput` for what is none."""
    pretrain = _with(phases.pretrain, "pretrain_parts", config.pretrain_parts)
    return Both(pretrain, _with(phases.finetune, "finetune_parts", config.finetune_parts))


def _with(phase: Phase, field: str, texts: Sequence[str]) -> Phase:
    for text in texts:
        part = named(field, text)
        if isinstance(part, Term):
            phase = replace(phase, terms=(*phase.terms, part))
            continue
        kinds = [name for name, protocol in PARTS.items() if isinstance(part, protocol) and not isinstance(part, type)]
        require(len(kinds) > 0, field, text, f"a linsim.Term, or a value for {', '.join(PARTS)} of a phase")
        require(getattr(phase, kinds[0]) is None, field, text, f"one part for {kinds[0]}")
        phase = replace(phase, **{kinds[0]: part})
    return phase
