"""Whether the alarm rings, and the measures at both ends."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.monitoring.alarm import Alarm


def find(dataset: xr.Dataset) -> Finding:
    """Whether the alarm rings, and from which budget on.

    Not seen where it stays silent over as many checkpoints as it needs to ring; of fewer nobody can tell.
    """
    heard, notes = dataset.attrs["alarm_on"], json.loads(dataset.attrs.get("notes", "[]"))
    alike = json.loads(dataset.attrs.get("alike", "[]"))
    trust = f"Not to be trusted: {'; '.join(alike)}." if alike else ""
    details = (f"{dataset.attrs['measured']}.", *(f"{note}." for note in notes))
    needs, count = Alarm(**json.loads(dataset.attrs["config"])["alarm"]).needs, dataset.sizes["pretrain_steps"]
    rings = dataset["pretrain_steps"].values[dataset["alarm_rings"].values]
    if rings.size:
        numbers = {"steps": rings[0], "rings": rings.size}
        return Finding(f"The alarm on {heard} rings at {rings[0]:,} steps", "seen", numbers, details, trust)
    if count < needs:
        told = f"The alarm on {heard} does not ring: it needs {needs} checkpoints and has {count}"
        return Finding(told, "cannot tell", {"checkpoints": count, "needs": needs}, details, trust)
    numbers = {"checkpoints": count, "rings": 0}
    return Finding(f"The alarm on {heard} does not ring in {count} checkpoints", "not seen", numbers, details, trust)


def table(dataset: xr.Dataset) -> list[str]:
    """Every measure at the first and the last checkpoint."""
    ends = [dataset.isel(pretrain_steps=position) for position in (0, -1)]
    heads = [f"at {int(end['pretrain_steps']):,} steps" for end in ends]
    width = 34 if "layer" in dataset.dims else 18
    lines = [f"{'measure':<{width}}{heads[0]:>26}{heads[1]:>26}{'ratio':>10}"]
    for name in (str(name) for name in dataset.data_vars if f"{name}_error" in dataset):
        rows = {name: ends}
        if "layer" in dataset[name].dims:
            measure = name.removesuffix("_by_layer")
            rows = {f"{measure} of {at}": [end.sel(layer=at) for end in ends] for at in dataset["layer"].values}
        for told, both in rows.items():
            pairs = [(float(end[name]), float(end[f"{name}_error"])) for end in both]
            ratio = pairs[1][0] / pairs[0][0] if pairs[0][0] else np.nan
            cells = [f"{value:.4g} ± {error:.1g}" for value, error in pairs]
            lines.append(f"{told:<{width}}{cells[0]:>26}{cells[1]:>26}{ratio:>10.3g}")
    return lines
