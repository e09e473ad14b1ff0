"""What the fine-tuning loss of untuned checkpoints tells: how much what is not learned yet will be shifted.

Both tasks share their bases; fine-tuning wants c_i sigma_i where pre-training wants sigma_i. A checkpoint has learned
s_i = f_i sigma_i of mode i.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from linsim.errors import LARGEST, numbers, require_together

Values = Float[np.ndarray, "..."] | float


def mode_slope(factor: Values, begun: Values = 0.0, reached: Values = 1.0) -> Float[np.ndarray, "..."]:
    """Change of the fine-tuning loss over that of the pre-training loss, while one mode goes from f_1 to f_2.

    (f_1 + f_2 - 2 c)/(f_1 + f_2 - 2), which is 2 c - 1 over a whole mode: a mode that learning turns into harm
    (c > 2, 3.4) raises this slope above 3. Path, depth and input variance do not matter. [derived here]

    Args:
      factor: c, of what fine-tuning wants over what pre-training wants.
      begun: f_1, the share of the mode that is learned at first.
      reached: f_2, the share at last; infinite where f_1 + f_2 = 2. All broadcast.

    Example:
      >>> ls.mode_slope(np.array([0.5, 1.0, 2.0, 4.0]))
      array([0., 1., 3., 7.])
    """
    c, first, last = (np.asarray(numbers(name, value, most=LARGEST)) for name, value in _named(factor, begun, reached))
    require_together(factor=c, begun=first, reached=last)
    both = first + last
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((2 * c - both) / (2 - both))


def loss_ratio(
    learned: Float[np.ndarray, "*runs modes"],
    pretrain: Float[np.ndarray, " modes"],
    finetune: Float[np.ndarray, " modes"],
    variances: Float[np.ndarray, " modes"] | float = 1.0,
) -> Float[np.ndarray, "*runs"]:
    """L_ft / L_base of a checkpoint, sum v (s - c sigma)^2 / sum v (s - sigma)^2.

    Where modes are learned or not, and learned ones are not shifted, it is the mean of c^2 over what is not learned
    yet, weighted by v sigma^2: 4 is the line c = 2 beyond which learning is harm. It is blind to turns of the singular
    vectors, and rises without bound where what is shifted was learned. [derived here]

    Args:
      learned: s of the checkpoint, with any leading axes.
      pretrain: sigma.
      finetune: c sigma, of either sign.
      variances: v, of the inputs of every mode.

    Returns:
      Infinite where all is learned and something is shifted, NaN where nothing is.

    Example:
      >>> ls.loss_ratio(np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([2.0, 1.0]), np.array([2.0, 3.0])).round(2)
      array([2.6, 9. ])
    """
    s, sigma, goal = (
        np.asarray(numbers(name, value, most=LARGEST))
        for name, value in (("learned", learned), ("pretrain", pretrain), ("finetune", finetune))
    )
    weights = np.asarray(numbers("variances", variances, above=0, most=LARGEST))
    require_together(learned=s, pretrain=sigma, finetune=goal, variances=weights)
    base, tuned = (np.sum(weights * (s - target) ** 2, axis=-1) for target in (sigma, goal))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(tuned / base)


def _named(factor: Values, begun: Values, reached: Values) -> tuple[tuple[str, Values], ...]:
    return ("factor", factor), ("begun", begun), ("reached", reached)
