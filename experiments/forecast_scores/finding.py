"""In which domains the forecast beats the prior's share, in which it is calibrated, and what stopping by it costs."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.finding import Finding, Verdict
from linsim.forecasting.forecaster import LEVEL

from ..words import joined, percent, tabular

_POLICY = "forecast, nothing tuned"


def find(dataset: xr.Dataset) -> Finding:
    """Whether it beats the prior's share by its Brier score, domain by domain.

    Seen where it does in at least half of the domains outside the prior, not seen where in none; nobody can tell
    where no interval there is clear of 0.
    """
    domains = [str(name) for name in dataset["domain"].values]
    skill = dataset["skill"].isel(method=0)
    better = skill.sel(statistic="low").values > 0
    worse = skill.sel(statistic="high").values < 0
    outside = np.arange(len(domains)) > 0
    count, all_outside = int(better[outside].sum()), int(outside.sum())
    harmful = [name for name, bad in zip(domains, worse, strict=True) if bad]
    unclear = [name for name, bad in zip(domains, ~(better | worse), strict=True) if bad]
    calm = calibrated(dataset)
    numbers = {
        "better": count,
        "outside": all_outside,
        "calibrated": int(calm[outside].sum()),
        "least_skill": float(skill.sel(statistic="estimate").min()),
        "regret": _estimate(dataset["regret"].sel(policy=_POLICY)),
        "regret_to_the_end": _estimate(dataset["regret"].isel(policy=0)),
    }
    if not better[outside].any() and not worse[outside].any():
        return Finding(
            "It cannot be told whether the forecast beats a constant: no interval is clear of it",
            "cannot tell",
            numbers,
        )
    verdict: Verdict = "seen" if 2 * count >= all_outside and count else "not seen" if not count else "cannot tell"
    sentence = f"The forecast beats a constant in {count} of {all_outside} domains outside its prior"
    if unclear:
        sentence += f", not on {joined(unclear)}"
    if harmful:
        sentence += f"{', and' if unclear else ','} is worse on {joined(harmful)}"
    return Finding(sentence, verdict, numbers, (_calibration(dataset, calm), _stopping(dataset)))


def calibrated(dataset: xr.Dataset) -> np.ndarray:
    """Domains where nothing speaks against chances or intervals, within their bootstrap.

    Chances are right on average, and no nearer to 0 and 1 than they should be (Spiegelhalter's statistic); intervals
    hold the turn, where there is one, as often as they say.
    """
    found = dataset["coverage_of_turns"].sel(statistic="high").fillna(1.0).values >= LEVEL
    for name in ("bias", "sharpness"):
        low, high = (dataset[name].sel(statistic=end).values for end in ("low", "high"))
        found &= (low <= 0) & (high >= 0)
    return found


def table(dataset: xr.Dataset) -> list[str]:
    """A row for every domain."""
    calm = calibrated(dataset)
    rows = []
    for at, name in enumerate(dataset["domain"].values):
        here = dataset.isel(domain=at)
        own = here.isel(method=0)
        rows.append(
            (
                str(name),
                f"{int(here['tables'])}/{int(here['groups'])}",
                _span(own["skill"]),
                _span(own["auc"]),
                _span(own["fresh_auc"]),
                percent(_estimate(here["coverage_of_turns"])),
                percent(_estimate(here["cannot_tell"])),
                percent(_estimate(here["wrong"])) if np.isfinite(_estimate(here["wrong"])) else "-",
                "yes" if calm[at] else "no",
            )
        )
    heads = (
        "domain",
        "tables/groups",
        "skill",
        "AUC",
        "before the turn",
        "coverage",
        "cannot tell",
        "wrong",
        "calibrated",
    )
    return tabular(heads, rows)


def _calibration(dataset: xr.Dataset, calm: np.ndarray) -> str:
    names = [str(name) for name, fine in zip(dataset["domain"].values, calm, strict=True) if not fine]
    return f"Not calibrated: {joined(names)}." if names else "Calibrated in all domains."


def _stopping(dataset: xr.Dataset) -> str:
    parts = [
        f"{policy} {percent(_estimate(dataset['regret'].sel(policy=policy)))}, "
        f"median {percent(_estimate(dataset['median_regret'].sel(policy=policy)))} "
        f"({_estimate(dataset['tunings'].sel(policy=policy)):.0f} runs)"
        for policy in dataset["policy"].values
    ]
    count = dataset.attrs["stopped"]
    return f"Mean regret of stopping, of the zero network's loss, over {count} transfers: {'; '.join(parts)}."


def _estimate(score: xr.DataArray) -> float:
    return float(score.sel(statistic="estimate"))


def _span(score: xr.DataArray) -> str:
    estimate, low, high = (float(score.sel(statistic=name)) for name in ("estimate", "low", "high"))
    return f"{estimate:.2f} [{low:.2f}, {high:.2f}]" if np.isfinite(estimate) else "-"
