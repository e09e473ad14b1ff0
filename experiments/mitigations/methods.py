"""The league: descent alone, and all methods beside it."""

from __future__ import annotations

from . import finetuning, pretraining
from .method import Method

ALONE = "rate and steps alone"
"""Descent at some rate, from the standard checkpoint: what all others are held against."""

METHODS: dict[str, Method] = {
    method.name: method for method in (Method(ALONE, "finetune"), *pretraining.METHODS, *finetuning.METHODS)
}
"""By name, in the order in which they are told."""
