"""What the forecasts of a table come to: of how many runs harm is foreseen, and of how many nobody can tell."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict

from ..words import counted, tabular

_SAID = {"harm": "harm", "no_harm": "no harm", "cannot_tell": "cannot tell"}


def find(dataset: xr.Dataset) -> Finding:
    """Seen where of some run harm is foreseen, not seen where none is of all; else nobody can tell."""
    verdicts = [str(each) for each in dataset["verdict"].values]
    counts = {name: verdicts.count(name) for name in _SAID}
    runs = len(verdicts)
    verdict: Verdict = "seen" if counts["harm"] else "not seen" if counts["no_harm"] == runs else "cannot tell"
    told = {
        "seen": f"Harm by 8 times the budget is foreseen for {counts['harm']} of {counted(runs, 'run')}",
        "not seen": f"Harm by 8 times the budget is foreseen for none of {counted(runs, 'run')}",
        "cannot tell": f"It cannot be told whether more pre-training will hurt any of {counted(runs, 'run')}",
    }[verdict]
    rest = [
        f"{counts[name]} {words}"
        for name, words in (("no_harm", "foreseen to stay unharmed"), ("cannot_tell", "cannot be told"))
        if counts[name] and not (name == "no_harm" and verdict == "not seen")
    ]
    sentence = f"{told}; {' and '.join(rest)}" if rest and runs > 1 else told
    first = next((at for at, each in enumerate(verdicts) if each != "no_harm"), 0)
    reason = f"{dataset['run'].values[first]}: {dataset['reason'].values[first]}."
    numbers = {"runs": runs, **counts, "largest_probability": float(dataset["probability"].max())}
    return Finding(sentence, verdict, numbers, (reason,))


def table(dataset: xr.Dataset) -> list[str]:
    """Chances, interval and verdict of every run."""
    ends = [dataset[f"turn_{end}"].values for end in ("low", "median", "high")]
    rows = [
        (
            str(name),
            *(f"{100 * chance:.0f} %" for chance in dataset["probability"].values[at]),
            *(_budget(end[at], dataset) for end in ends),
            _SAID[str(dataset["verdict"].values[at])],
        )
        for at, name in enumerate(dataset["run"].values)
    ]
    heads = (
        "run",
        *(f"worse at {each} x" for each in dataset["horizon"].values),
        "turn from",
        "median",
        "to",
        "verdict",
    )
    return tabular(heads, rows)


def _budget(value: float, dataset: xr.Dataset) -> str:
    return f"{value:.3g}" if np.isfinite(value) else beyond(dataset)


def beyond(dataset: xr.Dataset) -> str:
    """What is said of a turn that does not come within 8 times the largest budget."""
    return f"> {dataset['horizon'].values[-1] * float(dataset['budget'][-1]):.3g}"
