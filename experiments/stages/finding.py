"""What the harm of single features says: whether the critical ratio decides, after how much fine-tuning, where not."""

from __future__ import annotations

import numpy as np
import xarray as xr

from linsim.finding import Finding
from linsim.labels import lost_lanes

from ..words import distrust, diverged, joined, listed, percent, rechecked, tabular
from .relearning import EARLY, LATE, lasting

_MOST = 0.9  # of the features decided rightly, below which the ratio is not said to decide
_WORSE = 1.01  # times the loss of the best stage, from which on the last one is not the best


def find(dataset: xr.Dataset) -> Finding:
    """Whether 2 + lambda decides which features are harm, and 1 + lambda / 2 once fine-tuning learns them by itself.

    Not seen without any harm, or if the threshold does not fall: if 1 + lambda / 2 decides fewer than 90 % of what
    fine-tuning has learned by itself. Nobody can tell if fine-tuning is too short for 2 + lambda on idealised stages.
    """
    details, trust = (*_beside(dataset), *diverged(dataset), *rechecked(dataset)), distrust(dataset)
    time = float(flow_times(dataset)[-1])
    ideal = _after(dataset, "idealised")
    if not ideal["feature_harm"].notnull().any():
        sentence = "Nothing can be said of single features: all their idealised stages have a run that diverged"
        return Finding(sentence, "cannot tell", {"flow_time": time}, details, trust)
    harmful = int((ideal["feature_harm"] > dataset.attrs["harmful"]).sum())
    right, count = decided(ideal, "limit_harm")
    penalised = dataset.sel(regularization=dataset["regularization"] > 0)  # without a penalty nothing falls by half
    early, late = (decided(part, rule) for part, rule in zip(_real(penalised), LIMITS, strict=True))
    numbers = {
        **{"flow_time": time, "features": count, "harmful": harmful, "right": right},
        **{"features_early": early[1], "right_early": early[0], "features_alone": late[1], "right_alone": late[0]},
    }
    if not harmful:
        sentence = f"No learned feature does harm, fine-tuned for T = {time:.3g} from idealised stages"
        return Finding(sentence, "not seen", numbers, details, trust)
    if right < _MOST * count:
        sentence = f"Fine-tuning for T = {time:.3g} is too short for the critical ratio 2 + λ, which decides only"
        return Finding(f"{sentence} {right} of {count} features rightly", "cannot tell", numbers, details, trust)
    sentence = f"Having learned a feature is harm from 2 + λ times its strength on ({right} of {count} rightly decided"
    sentence += f"; {early[0]} of {early[1]} on real stages)" if early[1] else ")"
    if not late[1]:
        return Finding(sentence, "seen", numbers, details, trust)
    if late[0] < _MOST * late[1]:
        sentence += f"; that fine-tuning learns it by itself does not halve this ({late[0]} of {late[1]})"
        return Finding(sentence, "not seen", numbers, details, trust)
    sentence += f", and from half of that on where fine-tuning lasts to learn it by itself ({late[0]} of {late[1]})"
    return Finding(sentence, "seen", numbers, details, trust)


LIMITS = ("limit_harm", "limit_harm_learned_anyway")
"""What decides while fine-tuning has not learned a feature by itself, and when it has."""


def _real(dataset: xr.Dataset) -> list[xr.Dataset]:
    """Real stages before and after the relearning time, at all rates at which fine-tuning moves what was learned."""
    real, share = dataset.sel(checkpoint="real"), dataset["relearning"]
    parts = share <= EARLY, share >= LATE
    return [real.assign(feature_harm=real["feature_harm"].where(lasting(dataset) & part)) for part in parts]


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
    """What each critical ratio decides, by T over the relearning time, and whether the last stage is best."""
    early, late = _real(dataset)
    longest = {kind: _after(dataset, kind) for kind in ("idealised", "real")}
    heads = ("lambda", "T / relearning:", "idealised, 0", f"<= {EARLY:g}", f">= {LATE:g}", "last stage not best:")
    rows = []
    for at, penalty in enumerate(dataset["regularization"].values):
        one, *two = (part.isel(regularization=at) for part in (longest["idealised"], early, late))
        for rule, said in zip(LIMITS, ("r > 2 + lambda", "r > 1 + lambda/2" if penalty else "never"), strict=True):
            cells = (_of(decided(part, rule)) for part in (one, *two))
            ends = ", ".join(f"{_of(_turns(each.isel(regularization=at)))} {kind}" for kind, each in longest.items())
            rows.append((f"{penalty:g}", said, *cells, ends) if rule == LIMITS[0] else ("", said, *cells, ""))
    return tabular(heads, rows)


def _of(pair: tuple[int, int]) -> str:
    return "{} of {}".format(*pair) if pair[1] else "-"


def _turns(cells: xr.Dataset) -> tuple[int, int]:
    """In how many tasks the last stage is not the best one."""
    loss = cells["pretrain_loss_after"].where(~lost_lanes(cells))
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
    said += " Idealised features not learned are exactly 0, which rounding takes from layers that are not diagonal."
    return [said, *_threshold(dataset), *_turned(dataset), *_sign(ideal), _agreement(dataset)]


def _threshold(dataset: xr.Dataset) -> list[str]:
    """The ratio that parts harm from none, in ranges of T over the relearning time."""
    edges, best = dataset["relearning_edge"].values, dataset["simulated_threshold"].values
    told = [
        f"{value:.2g} ({low:g} to {high:g})"
        for low, high, value in zip(edges[:-1], edges[1:], best, strict=True)
        if np.isfinite(value)
    ]
    return [f"Harm begins at r / (1 + lambda/2) = {', '.join(told)} of the relearning time."] if told else []


def _turned(dataset: xr.Dataset) -> list[str]:
    """From which angle on features are harm, by the side that turns, and whether the rule decides."""
    harm, limit, least = dataset["turned_harm"], dataset["turned_limit"], dataset.attrs["harmful"]
    known = harm.notnull()
    if not known.any():
        return []
    bad = ((harm > least) & known).any("feature")
    first = [
        float(bad["rotate_degrees"][row].min()) if (row := bad.sel(rotate_side=side).values).any() else np.inf
        for side in bad["rotate_side"].values
    ]
    told = joined(
        [
            f"{side} from {angle:g} degrees" if np.isfinite(angle) else f"{side} at no angle"
            for side, angle in zip(bad["rotate_side"].values, first, strict=True)
        ]
    )
    right = int((((harm > least) == (limit > least)) & known).sum())
    rule = f"s_n > 2 sum_k sigma_k (u_n.u_k)(v_n.v_k) decides {right} of {int(known.sum())}"
    return [f"Singular vectors turned do harm {told}; {rule}."]


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
