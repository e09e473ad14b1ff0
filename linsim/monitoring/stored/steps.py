"""Training steps in the names of checkpoints, by one strict rule: a step is beyond doubt, or its name is refused."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from linsim.errors import InvalidInput, require

EXAMPLES = {
    "step_1000": 1000,
    "checkpoint-500": 500,
    "epoch=3-step=1200": 1200,
    "model_0001200": 1200,
    "step_500k": 500_000,
    "iter_1.5M": 1_500_000,
    "step_1e3": 1000,
    "ckpt_10_loss2.31": 10,
    "agent_10000_steps": 10_000,
    "1000": 1000,
}
"""Names and the steps that they say."""
REFUSED = ("epoch=1-loss=2.31", "step_1_000", "step_-100", "step_2.5", "checkpoint_2_5000", "llama-7b", "resnet50")
"""Names that leave a doubt."""

_COUNTS = {
    "step",
    "steps",
    "globalstep",
    "timestep",
    "timesteps",
    "iter",
    "iteration",
    "iterations",
    "update",
    "updates",
}
_SAVED = {"checkpoint", "ckpt", "chkpt", "snapshot"}
_MODEL = {"model", "weights", "params", ""}  # behind which 7b and 70M are sizes
_ELSE = {"epoch", "epochs", "loss", "acc", "accuracy", "error", "score", "ppl", "perplexity"}
_ELSE |= {"lr", "seed", "run", "tokens", "rank", "fold", "version", "v"}

_ENDINGS = re.compile(r"(\.(npz|safetensors|ckpt|pt|pth|bin|pkl|pickle|msgpack|h5|orbax|weights))+$", re.IGNORECASE)
_TOKENS = re.compile(r"([a-z]+)|(\d+(?:[.,]\d+)*(?:e[+-]?\d+)?)([a-z]*)|([^a-z0-9]+)", re.IGNORECASE | re.ASCII)
_WRITTEN = re.compile(r"(\d+)(\.\d+)?(e\+?\d{1,2})?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_MOST = 2**53  # exact in float64
_LONGEST = 40  # characters of a number
_ALLOWED = r"a step beyond doubt, such as step_1000 (--help has the rule), or --step-pattern, such as 'epoch=(\d+)'"


class _Token(NamedTuple):
    """A word, a number with its unit, or what is neither; the others are empty."""

    word: str
    number: str
    unit: str
    gap: str


_NOTHING = _Token("", "", "", "")


class _Number(NamedTuple):
    """What a number in a name says."""

    word: str
    """That says what it counts: the one before it, or one of steps behind it."""
    steps: int | None
    """None where it is no whole number."""


def step_in(name: str, pattern: str = "") -> int | None:
    r"""Training steps that the name of a checkpoint says; None where it has no number, or does not match the pattern.

    The step is the number at a word for steps (step, global_step, iter, iteration, update; behind it, or `steps` after
    the number). Where there is none it is the only number of the name, behind checkpoint, ckpt, model, weights, params
    or no word; numbers behind words for something else (epoch, loss, acc, lr, seed, run, ...) do not count. It is whole
    and may end in k, M, B or e3; behind model, or no word, in k alone, as 70M and 7b are sizes of models. Whatever else
    there is leaves a doubt.

    Args:
      name: of a file or a folder, with its ending.
      pattern: regular expression with one group, which holds the step; it decides in place of the rule.

    Raises:
      InvalidInput: a name that leaves a doubt; a pattern that is none.

    Example:
      >>> step_in("epoch=3-step=1200.safetensors"), step_in("best.npz"), step_in("net7-20.npz", r"-(\d+)")
      (1200, None, 20)
    """
    if pattern:
        return _by_pattern(name, pattern)
    stem = _ENDINGS.sub("", name)
    numbers = _numbers(stem)
    if not numbers:
        return None
    counts = [each for each in numbers if each.word in _COUNTS]
    candidates = counts or [each for each in numbers if each.word not in _ELSE]
    steps = {each.steps for each in candidates}
    known = bool(counts) or all(each.word in _SAVED | _MODEL for each in candidates)
    if len(steps) != 1 or None in steps or not known:
        told = ", ".join(match[2] + match[3] for match in _TOKENS.finditer(stem) if match[2])
        raise InvalidInput(name, f"{told}, which leaves a doubt", _ALLOWED)
    return _counted(name, candidates[0].steps)


def require_pattern(pattern: str) -> None:
    """Raise `InvalidInput` unless it is a regular expression with one group, or empty."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise InvalidInput("step_pattern", pattern, f"a regular expression ({error})") from error
    require(
        not pattern or groups == 1, "step_pattern", pattern, r"one group, which holds the step, such as 'epoch=(\d+)'"
    )


def _by_pattern(name: str, pattern: str) -> int | None:
    require_pattern(pattern)
    texts = {match[1] or "" for match in re.finditer(pattern, name)}
    if not texts:
        return None
    held = f"one whole number of steps in the group of --step-pattern '{pattern}'"
    require(len(texts) == 1, name, f"step {' and '.join(sorted(texts))}", held)
    text = texts.pop()
    number = re.fullmatch(r"([\d_,.]+(?:e\+?\d+)?)([a-z]?)", text, re.IGNORECASE | re.ASCII)
    steps = _whole(re.sub(r"(?<=\d)[_,](?=\d{3})", "", number[1]), number[2]) if number else None
    require(steps is not None, name, f"step {text or 'of no characters'}", held)
    return _counted(name, steps)


def _counted(name: str, steps: int | None) -> int | None:
    require(steps is not None and steps <= _MOST, name, f"{steps} steps", "at most 2^53 steps")
    return steps


def _numbers(stem: str) -> list[_Number]:
    tokens = [_Token(*match.groups("")) for match in _TOKENS.finditer(stem)]
    return [_number(tokens, at) for at, token in enumerate(tokens) if token.number]


def _number(tokens: list[_Token], at: int) -> _Number:
    gap = tokens[at - 1].gap if at else ""
    before = at - 2 if gap else at - 1
    word, unit = tokens[before].word.lower() if before >= 0 else "", tokens[at].unit.lower()
    if word not in _COUNTS and (behind := _behind(tokens, at)) in _COUNTS:
        word, unit = behind, "" if unit == behind else unit
    glued = at > 0 and not gap and (not tokens[at - 1].word or word not in _COUNTS | _SAVED | _MODEL | _ELSE)
    negative = gap.endswith("-") and (len(gap) > 1 or at == 1)
    grouped = _is_group(tokens, at) or _is_group(tokens, at - 2)
    sizes = word in _MODEL and unit not in ("", "k")
    doubt = glued or negative or grouped or sizes
    return _Number(word, None if doubt else _whole(tokens[at].number, unit))


def _behind(tokens: list[_Token], at: int) -> str:
    """The word behind a number, unless that belongs to the next one."""
    unit = tokens[at].unit.lower()
    if unit not in _UNITS:
        return unit
    word, after = [*(token for token in tokens[at + 1 :] if not token.gap), _NOTHING, _NOTHING][:2]
    return "" if after.number else word.word.lower()


def _is_group(tokens: list[_Token], at: int) -> bool:
    """Whether 1_000 begins at a number, which is a thousand or two numbers."""
    if at < 0 or at + 2 >= len(tokens):
        return False
    first, gap, second = tokens[at].number, tokens[at + 1].gap, tokens[at + 2].number
    return gap in ("_", ",", "'", " ") and 0 < len(first) <= 3 == len(second)


def _whole(written: str, unit: str) -> int | None:
    """A number with its unit, where it is one, whole, and has no point without a unit: 1.000 may be a thousand."""
    number = _WRITTEN.fullmatch(written)
    if number is None or unit.lower() not in _UNITS or len(written) > _LONGEST:
        return None
    if number[2] and not (unit or number[3]):
        return None
    value = Decimal(written) * _UNITS[unit.lower()]
    return int(value) if value == value.to_integral_value() else None
