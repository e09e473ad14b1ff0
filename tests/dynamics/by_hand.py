"""Descent of a chain of matrices written out in NumPy."""

from functools import reduce

import numpy as np


def product(weights, size):
    """W_L ... W_1, the identity of a size where there is no layer."""
    return reduce(lambda inner, outer: outer @ inner, weights, np.eye(size))


def loss(weights, task):
    """tr((P - A) S (P - A)^T)."""
    residual = product(weights, task.inputs) - task.target
    return np.trace(residual @ task.input_covariance @ residual.T)


def slopes(weights, task):
    """dL/dW_l = W_{l+1}^T ... W_L^T 2 (P - A) S W_1^T ... W_{l-1}^T."""
    pull = 2 * (product(weights, task.inputs) - task.target) @ task.input_covariance
    return [
        product(weights[layer + 1 :], weight.shape[0]).T @ pull @ product(weights[:layer], task.inputs).T
        for layer, weight in enumerate(weights)
    ]


def stepped(weights, rate, gradient):
    """W <- W - rate * gradient."""
    return [weight - rate * slope for weight, slope in zip(weights, gradient, strict=True)]
