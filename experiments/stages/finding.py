"""What the harm of single features says: whether the critical ratio decides, after how much fine-tuning, where not."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.finding import Finding

from ..words import distrust, diverged, joined, listed, percent, rechecked

_MOST = 0.9  # of the features decided rightly, below which the ratio is not said to decide
_WORSE = 1.01  # times the loss of the best stage, from which on the last one is not the best


def find(dataset: xr.Dataset) -> Finding:
    """Whether the critical ratio decides which features are harm, after the longest fine-tuning."""
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    time = float(flow_times(dataset)[-1])
    ideal, real = _after(dataset, "idealised"), _after(dataset, "real")
    if not ideal["feature_harm"].notnull().any():
        sentence = "Nothing can be said of single features: all their idealised stages have a run that diverged"
        return Finding(sentence, "cannot tell", {"flow_time": time}, details, trust)
    harmful = int((ideal["feature_harm"] > dataset.attrs["harmful"]).sum())
    right, count = decided(ideal, "limit_harm")
    alone = real.assign(feature_harm=real["feature_harm"].where(real["own_time"] < time))
    right_alone, count_alone = decided(alone, "limit_harm_learned_anyway")
    numbers = {
        **{"flow_time": time, "features": count, "harmful": harmful, "right": right},
        **{"features_alone": count_alone, "right_alone": right_alone},
    }
    if not harmful:
        sentence = f"No learned feature does harm, fine-tuned for T = {time:.3g} from idealised stages"
        return Finding(sentence, "not seen", numbers, details, trust)
    if right < _MOST * count:
        sentence = f"Fine-tuning for T = {time:.3g} is too short for the critical ratio 2 + λ, which decides only"
        return Finding(f"{sentence} {right} of {count} features rightly", "cannot tell", numbers, details, trust)
    sentence = "Having learned a feature is harm where fine-tuning wants it more than 2 + λ times as strong"
    sentence += f" ({right} of {count} rightly decided)"
    if count_alone:
        sentence += f", or 1 + λ/2 times once it learns it by itself ({right_alone} of {count_alone})"
    return Finding(sentence, "seen", numbers, details, trust)


def decided(dataset: xr.Dataset, rule: str) -> tuple[int, int]:
    """Of how many features a rule says rightly whether they are harm, and of how many it says anything.

    Args:
      dataset: the result, or a part of it.
      rule: `limit_harm` or `limit_harm_learned_anyway`; or `predicted_feature_harm`, the closed form.
    """
    ours, theirs = xr.broadcast(dataset["feature_harm"], dataset[rule])
    known, least = ours.notnull() & theirs.notnull(), dataset.attrs["harmful"]
    return int((((ours > least) == (theirs > least)) & known).sum()), int(known.sum())


def flow_times(dataset: xr.Dataset) -> np.ndarray:
    """T = eta K of every fine-tuning rate."""
    return np.asarray(dataset["learning_rate"].values * dataset.attrs["finetune_steps"])


def table(dataset: xr.Dataset) -> list[str]:
    """Harm over the ratio, what both critical ratios decide, and whether the last stage is best, for every lambda."""
    ideal, real = _after(dataset, "idealised"), _after(dataset, "real")
    own = real["own_time"] < flow_times(dataset)[-1]
    either = real["limit_harm_learned_anyway"].where(own, real["limit_harm"])
    lines = [
        f"{'':>6} | {'from idealised stages':^58} | from real stages",
        "lambda | harm from r | none up to | r > 2 + lambda | last not best "
        "| r > 2 + lambda | or 1 + lambda/2 | last not best",
    ]
    for at, penalty in enumerate(dataset["regularization"].values):
        one, other = ideal.isel(regularization=at), real.isel(regularization=at)
        mixed = other.assign(limit_harm=either.isel(regularization=at))
        harm = one["feature_harm"].where(one["ratio"] >= 0)  # targets of the other sign have a line of their own
        bad = harm > dataset.attrs["harmful"]
        cells = (
            *(_ratio(one["ratio"].where(bad).min()), _ratio(one["ratio"].where(harm.notnull() & ~bad).max())),
            *(decided(one, "limit_harm"), _turns(one)),
            *(decided(other, "limit_harm"), decided(mixed, "limit_harm"), _turns(other)),
        )
        told = (cell if isinstance(cell, str) else "{} of {}".format(*cell) for cell in cells)
        columns = " | ".join(f"{cell:>{width}}" for cell, width in zip(told, (11, 10, 14, 13, 14, 15, 13), strict=True))
        lines.append(f"{penalty:>6g} | {columns}")
    return lines


def _ratio(value: xr.DataArray) -> str:
    return f"{float(value):.3g}" if np.isfinite(value) else "-"


def _turns(cells: xr.Dataset) -> tuple[int, int]:
    """In how many tasks the last stage is not the best one."""
    loss = cells["pretrain_loss_after"].where(~cells["diverged"])
    return int((loss.isel(stage=-1) > _WORSE * loss.min("stage")).sum()), loss.sizes["seed"]


def _after(dataset: xr.Dataset, kind: str) -> xr.Dataset:
    """The longest fine-tuning from one kind of stages."""
    return dataset.sel(checkpoint=kind).isel(learning_rate=-1)


def _beside(dataset: xr.Dataset) -> list[str]:
    """Less fine-tuning, targets of the other sign, and the closed form."""
    ideal, real = (dataset.sel(checkpoint=kind) for kind in ("idealised", "real"))
    mixed = ideal.assign(real=real["feature_harm"])
    said = f"At T = {listed(flow_times(dataset))}, r > 2 + lambda is right on {_shares(ideal, 'limit_harm')} "
    said += "of the idealised features"
    if "predicted_feature_harm" in dataset:
        said += f", F_T(sigma) > 2 sigma on {_shares(ideal, 'predicted_feature_harm')}"
    said += f"; real stages have the same verdict on {_shares(mixed, 'real')}."
    return [said, *_sign(ideal), _agreement(dataset)]


def _shares(part: xr.Dataset, rule: str) -> str:
    """Share of features that a rule decides rightly, for every rate."""
    pairs = [decided(part.isel(learning_rate=at), rule) for at in range(part.sizes["learning_rate"])]
    shares = [percent(right / count) if count else "none" for right, count in pairs]
    return shares[0] if len(set(shares)) == 1 else joined(shares)


def _sign(ideal: xr.Dataset) -> list[str]:
    """Targets of the other sign, where they do harm: balanced layers cannot cross 0."""
    harm, other = ideal["feature_harm"], ideal["ratio"] < 0
    bad = (harm > ideal.attrs["harmful"]) & other
    if not bool(bad.any()):
        return []
    said = (
        f"A target of the other sign ({int(other.sum())} features) does harm, up to {float(harm.where(bad).max()):.2g}"
    )
    # By imbalance if modes are driven below 0, and the closed form, of balanced layers, has no harm there.
    crossing = bool((ideal["ratio"] + ideal["regularization"] < 0).where(bad, True).all())
    balanced = ideal["predicted_feature_harm"] if "predicted_feature_harm" in ideal else 0 * harm
    if crossing and not bool((balanced.where(bad) > ideal.attrs["harmful"]).any()):
        said += ", for r < -lambda: by imbalance, be it that of rounding, as balanced layers cannot cross 0"
    return [f"{said}."]


def _agreement(dataset: xr.Dataset) -> str:
    """Of the simulation with the closed form."""
    said = []
    if "predicted_feature_harm" in dataset:
        apart = abs(dataset["feature_harm"] - dataset["predicted_feature_harm"])
        for kind in dataset["checkpoint"].values:
            known = apart.sel(checkpoint=kind).values
            if np.isfinite(known).any():
                said.append(f"{np.nanmedian(known):.1g} (most {np.nanmax(known):.2g}) on {kind} stages")
    if not said:
        return f"Closed form: {dataset.attrs['prediction']}."
    return f"Closed form is off by {', '.join(said)}, in sigma_pre^2."
