"""What the harm of single features says: whether the critical ratio decides, after how much fine-tuning, where not."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ..words import wrapped

HARMFUL = 0.01
"""Harm, in units of sigma_pre^2, below which a feature counts as harmless: far below 1, what learning it is worth."""


def summarise(dataset: xr.Dataset) -> str:
    """The conclusion, in a few lines."""
    if not dataset["feature_harm"].notnull().any():
        return "Nothing can be said: every pair of neighbouring stages has a run that diverged."
    lines = [_ideal(dataset), *_times(dataset), _sign(dataset), _turns(dataset), *_real(dataset), _agreement(dataset)]
    return "\n".join(wrapped(row) for line in lines if line for row in line.split("\n"))


def calls(dataset: xr.Dataset, checkpoint: str, rate: int, penalty: int, rule: str = "limit_harm") -> tuple[int, int]:
    """Of the features that a rule calls harmful or harmless, how many it calls rightly.

    Args:
      dataset: the result.
      checkpoint: idealised or real.
      rate: position of the fine-tuning rate.
      penalty: position of lambda.
      rule: `limit_harm` or `limit_harm_learned_anyway`; or `predicted_feature_harm`, the closed form.
    """
    harm = dataset["feature_harm"].sel(checkpoint=checkpoint).isel(learning_rate=rate, regularization=penalty)
    stated = dataset[rule].isel(regularization=penalty)
    if "learning_rate" in stated.dims:
        stated = stated.sel(checkpoint=checkpoint).isel(learning_rate=rate)
    known = (harm.notnull() & stated.notnull()).values
    right = ((harm > HARMFUL) == (stated > HARMFUL)).values
    return int(right[known].sum()), int(known.sum())


def flow_times(dataset: xr.Dataset) -> np.ndarray:
    """T = eta K of every fine-tuning rate."""
    return np.asarray(dataset["learning_rate"].values * dataset.attrs["finetune_steps"])


def _ideal(dataset: xr.Dataset) -> str:
    """The critical line after the longest fine-tuning."""
    last = dataset.sizes["learning_rate"] - 1
    ratio = dataset["ratio"].values
    harm = dataset["feature_harm"].sel(checkpoint="idealised").isel(learning_rate=last)
    if not (harm > HARMFUL).any():
        return (
            f"From idealised stages no feature does harm, at ratios {ratio.min():.2g} to {ratio.max():.2g} and a flow "
            f"time of {flow_times(dataset)[last]:.3g}."
        )
    lines = [
        f"From idealised stages, fine-tuned for a flow time of {flow_times(dataset)[last]:.3g}, harm of the features "
        f"against their ratio r = sigma_ft / sigma_pre:"
    ]
    for index, penalty in enumerate(dataset["regularization"].values):
        one = harm.isel(regularization=index).values
        known = np.isfinite(one)
        # Targets of the other sign have a line of their own.
        bad, good = (ratio[known & (ratio >= 0) & each] for each in (one > HARMFUL, one <= HARMFUL))
        right, count = calls(dataset, "idealised", last, index)
        lowest = f"harm from r = {bad.min():.3g} on" if bad.size else "no harm"
        highest = f"none up to r = {good.max():.3g}" if good.size else "always"
        rule = f"r > 2 + lambda = {2 + penalty:g} decides {right} of {count} rightly"
        lines.append(f"  lambda {penalty:g}: {lowest}, {highest}; {rule}")
    return "\n".join(lines)


def _times(dataset: xr.Dataset) -> list[str]:
    """How the rule for convergence and the closed form do after less fine-tuning."""
    told = []
    for index, time in enumerate(flow_times(dataset)):
        sums = {}
        for rule in ("limit_harm", "predicted_feature_harm"):
            pairs = [calls(dataset, "idealised", index, at, rule) for at in range(dataset.sizes["regularization"])]
            sums[rule] = [sum(each) for each in zip(*pairs, strict=True)]
        (right, count), (closed, described) = sums["limit_harm"], sums["predicted_feature_harm"]
        also = f", F_T(sigma) > 2 sigma of {closed / described:.0%}" if described else ""
        told.append(f"T = {time:.3g}: {right / count:.0%}{also}" if count else f"T = {time:.3g}: diverged")
    return [f"The rule for convergence is right on this share of idealised features: {'; '.join(told)}."]


def _sign(dataset: xr.Dataset) -> str:
    """Targets of the other sign."""
    other = dataset["ratio"] < 0
    if not other.any():
        return ""
    said = f"A target of the other sign ({int(other.sum())} features)"
    ours, balanced = (
        dataset[name].sel(checkpoint="idealised").where(other) for name in ("feature_harm", "predicted_feature_harm")
    )
    if not ours.notnull().any():
        return f"{said}: every run diverged."
    harm = float(ours.max())
    if harm <= HARMFUL:
        return f"{said} does no harm: at most {harm:.2g}; balanced layers cannot cross 0."
    bad = ours > HARMFUL
    # By imbalance if modes are driven below 0, and the closed form, of balanced layers, has no harm there.
    crossing = bool((dataset["ratio"] + dataset["regularization"] < 0).where(bad, True).all())
    if not crossing or bool((balanced.where(bad) > HARMFUL).any()):
        return f"{said} does harm: up to {harm:.2g}."
    return (
        f"{said} does harm for r < -lambda, up to {harm:.2g}: by imbalance, were it that of rounding alone, "
        f"as balanced layers cannot cross 0."
    )


def _turns(dataset: xr.Dataset) -> str:
    """In how many tasks the last stage is not the best one."""
    said = []
    for name in dataset["checkpoint"].values:
        loss = dataset["pretrain_loss_after"].sel(checkpoint=name).isel(learning_rate=-1)
        # The last stage costs more than 1 % of the loss of the best.
        worse = loss.isel(stage=-1) > 1.01 * loss.min("stage")
        counts = ", ".join(
            f"{int(worse.isel(regularization=at).sum())} at lambda {penalty:g}"
            for at, penalty in enumerate(dataset["regularization"].values)
        )
        said.append(f"{name} {counts}")
    return f"Of {dataset.sizes['seed']} tasks the last stage is above the best by more than 1 %: {'; '.join(said)}."


def _real(dataset: xr.Dataset) -> list[str]:
    """Where features not learned yet are learned by fine-tuning."""
    lines = []
    harm = dataset["feature_harm"]
    ideal, real = (harm.sel(checkpoint=kind) for kind in ("idealised", "real"))
    changed = ((ideal > HARMFUL) != (real > HARMFUL)) & ideal.notnull() & real.notnull()
    shares = changed.mean(["feature", "seed", "regularization"]).values
    told = "; ".join(f"T = {time:.3g}: {share:.0%}" for time, share in zip(flow_times(dataset), shares, strict=True))
    lines.append(
        f"On real stages, with unlearned features small but not 0, this share of the verdicts changes: {told}."
    )
    last = dataset.sizes["learning_rate"] - 1
    rules = []
    own = dataset["own_time"] < flow_times(dataset)[last]
    for index, penalty in enumerate(dataset["regularization"].values):
        never, count = calls(dataset, "real", last, index)
        mixed = dataset.assign(limit_harm=dataset["limit_harm_learned_anyway"].where(own, dataset["limit_harm"]))
        both, _ = calls(mixed, "real", last, index)
        if count:
            line = f"r > 1 + lambda/2 = {1 + penalty / 2:g}" if penalty else "no harm"
            share = float(own.isel(regularization=index).mean())
            rules.append(
                f"  lambda {penalty:g}: r > {2 + penalty:g} decides {never} of {count}; {both} with {line} for the "
                f"{share:.0%} of the features that fine-tuning learns by itself by then"
            )
    if rules:
        lines.append(f"After T = {flow_times(dataset)[last]:.3g} on real stages:")
    return lines + rules


def _agreement(dataset: xr.Dataset) -> str:
    said = []
    for kind in dataset["checkpoint"].values:
        ours, theirs = (dataset[name].sel(checkpoint=kind) for name in ("feature_harm", "predicted_feature_harm"))
        apart = np.abs(ours.values - theirs.values)
        known = apart[np.isfinite(apart)]
        if known.size:
            said.append(f"{kind}: {np.median(known):.1g} in the middle, {known.max():.2g} at most")
    return (
        f"Harm, simulated against closed form (in sigma_pre^2): {'; '.join(said)}."
        if said
        else f"Closed form: {dataset.attrs['prediction']}."
    )
