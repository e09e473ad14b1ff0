"""Recompute random lanes of a stored chart with NumPy alone, from what is stored in it: no linsim, no JAX.

    python tests/independent/recompute.py DIR [LANES]

prints the largest deviation of any recomputed loss, relative to the loss of the zero map. Covers plain gradient
descent (momentum and Nesterov included) on the population loss, any depth, shape, input covariance and regulariser.
"""

import json
import sys
from functools import reduce

import numpy as np
import xarray as xr


def product(weights):
    return reduce(lambda inner, outer: outer @ inner, weights)


def loss(weights, target, covariance):
    residual = product(weights) - target
    return np.trace(residual @ covariance @ residual.T)


def gradients(weights, anchor, target, covariance, phase):
    """Of tr((P-A) S (P-A)') + lambda |P-P0|^2 + (mu/2) sum |W-W0|^2 + (beta/2) sum |W|^2, by the chain rule."""
    P, penalty = product(weights), phase["product_penalty"] or 0.0
    M = 2 * (P - target) @ covariance + 2 * penalty * (P - product(anchor))
    for layer, (weight, start) in enumerate(zip(weights, anchor, strict=False)):
        above = reduce(lambda inner, outer: outer @ inner, weights[layer + 1 :], np.eye(weight.shape[0]))
        below = reduce(lambda inner, outer: outer @ inner, weights[:layer], np.eye(weights[0].shape[1]))
        pull = (phase["weight_penalty"] or 0.0) * (weight - start) + (phase["weight_decay"] or 0.0) * weight
        yield above.T @ M @ below.T + pull


def descend(weights, target, covariance, phase, steps):
    assert phase["optimizer"] is None and phase["schedule"] is None and phase["batch_size"] is None, (
        "plain descent only"
    )
    anchor, velocity, keep = weights, [np.zeros_like(weight) for weight in weights], phase["momentum"] or 0.0
    for _ in range(steps):
        slope = list(gradients(weights, anchor, target, covariance, phase))
        velocity = [keep * v + g for v, g in zip(velocity, slope, strict=False)]
        move = [g + keep * v for v, g in zip(velocity, slope, strict=False)] if phase["nesterov"] else velocity
        weights = [weight - phase["learning_rate"] * m for weight, m in zip(weights, move, strict=False)]
    return weights


def deviation(folder, lanes=4, seed=0):
    data = xr.open_zarr(f"{folder}/data.zarr", consolidated=False).load()
    phases, axes = json.loads(data.attrs["training"]), data["pretrain_loss_after"].shape
    tasks = [
        (data["pretrain_target"].values, data["input_covariance"].values),
        (data["finetune_target"].values, data["finetune_input_covariance"].values),
    ]
    scales = [np.trace(target @ covariance @ target.T) for target, covariance in tasks]
    depth = sum(name.startswith("initial_weights_") for name in data)
    worst = 0.0
    told = ~(data["diverged"] | data["unstable"]).values  # of the others rounding decides
    for flat in np.random.default_rng(seed).choice(np.flatnonzero(told), lanes):
        budget, rate, strength, start = np.unravel_index(flat, axes)
        weights = [data[f"initial_weights_{layer}"].values[start] for layer in range(1, depth + 1)]
        weights = descend(weights, *tasks[0], phases["pretrain"], int(data["pretrain_steps"][budget]))
        swept = {data.attrs["regularizer"]: float(data["regularization"][strength])}
        here = phases["finetune"] | swept | {"learning_rate": float(data["learning_rate"][rate])}
        tuned = descend(weights, *tasks[1], here, int(data.attrs["finetune_steps"]))
        for name, stored in (("pretrain_loss_after", 0), ("finetune_loss_after", 1)):
            error = abs(loss(tuned, *tasks[stored]) - data[name].values[budget, rate, strength, start])
            worst = max(worst, error / scales[stored])
        worst = max(
            worst, abs(loss(weights, *tasks[0]) - data["pretrain_loss_before"].values[budget, start]) / scales[0]
        )
    return worst


if __name__ == "__main__":
    print(f"{deviation(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4):.1e}")
