"""Cross-entropy over finitely many contexts: soft, hard and smoothed labels, softmax or one sigmoid an output.

A context x_c is met with probability p_c and has a distribution q_c of labels. Of logits z_c = P x_c a network makes
a distribution, and the loss is how far that is from the labels, above the entropy that no network is below:

    L(P) = sum_c p_c KL(q_c || softmax(P x_c)),    dL/dP = sum_c p_c (softmax(P x_c) - q_c) x_c^T.

With one-hot contexts and soft labels q_c = softmax(A x_c) this is the linear bigram language model. A two-layer softmax
network of it is two embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from linsim.errors import numbers, require, require_choice, require_integer, require_kind, require_number
from linsim.objectives.contexts import Contexts, SigmoidContexts, SoftmaxContexts, log_softmax
from linsim.tasks import LinearTask

Labels = Literal["soft", "hard"]
Link = Literal["softmax", "sigmoid"]

_EXACT = 1e-9  # to which probabilities sum to 1, and contexts have the covariance of their task
_ROW = tuple[float, ...]


@dataclass(frozen=True)
class CrossEntropy:
    """The objective of a task whose matrix A has logits A x_c for labels.

    Example:
      >>> from linsim.tasks import LinearTask
      >>> task = LinearTask.create([2.0, 1.0], input_covariance=np.diag([0.75, 0.25]), objective=CrossEntropy())
      >>> round(task.zero_loss, 4), round(float(task.loss_of(task.target)), 9)
      (0.2736, 0.0)
    """

    labels: Labels = "soft"
    """softmax(A x_c); or "hard", all on the largest logit, in equal shares where several are."""
    smoothing: float = 0.0
    """Share of every label that is spread evenly over all outputs, in [0, 1)."""
    link: Link = "softmax"
    """What makes probabilities of logits: one softmax, or a sigmoid for every output, whose labels are yes and no."""
    inputs: tuple[_ROW, ...] | None = None
    """x_c, one a row; None are one-hot contexts, e_c with probability S_cc."""
    frequencies: _ROW | None = None
    """p_c of these inputs."""

    def __post_init__(self) -> None:
        require_choice("labels", self.labels, get_args(Labels))
        require_choice("link", self.link, get_args(Link))
        require_number("smoothing", self.smoothing, at_least=0, below=1)
        both = (self.inputs is None) == (self.frequencies is None)
        require(both, "frequencies", self.frequencies, "given beside inputs, and with them alone")
        if self.inputs is not None:
            inputs, shares = (
                numbers("inputs", self.inputs, 2, sized=True),
                distribution("frequencies", self.frequencies),
            )
            require(len(inputs) == len(shares), "frequencies", f"{len(shares)} of them", f"{len(inputs)}, as inputs")
            # As tuples, so that equal objectives are equal.
            object.__setattr__(self, "inputs", tuple(map(tuple, inputs.tolist())))
            object.__setattr__(self, "frequencies", tuple(shares.tolist()))

    @property
    def convention(self) -> str:
        """What losses are, in words."""
        spread = f", {self.smoothing:g} of them spread evenly" if self.smoothing else ""
        to = f"KL({self.labels} labels{spread} || {self.link}(P x))"
        return f"L(P) = mean over contexts x of {to} in nats, P = W_L ... W_1; W_1 is the input layer"

    units = "nats"
    """Of losses."""

    def on(self, task: LinearTask) -> Contexts:
        """The loss of a task.

        Raises:
          InvalidInput: inputs of another covariance than the task's; for one-hot contexts, a covariance that is no
            diagonal of probabilities; label noise, which labels of this kind do not have.
        """
        covariance = task.input_covariance
        require(task.label_noise == 0, "label_noise", task.label_noise, "0: labels are distributions")
        if self.inputs is None:
            allowed = "for one-hot contexts a diagonal of their probabilities, which sum to 1"
            diagonal = np.diag(covariance)
            alone = np.array_equal(covariance, np.diag(diagonal))
            require(alone, "input_covariance", "one with entries beside its diagonal", allowed)
            off = abs(float(diagonal.sum()) - 1) <= _EXACT
            require(off, "input_covariance", f"a trace of {diagonal.sum():.6g}", allowed)
            inputs, frequencies, logits = None, diagonal, task.target.T
        else:
            inputs, frequencies = np.asarray(self.inputs), np.asarray(self.frequencies)
            wide = inputs.shape[1] == task.inputs
            require(wide, "inputs", f"rows of {inputs.shape[1]} numbers", f"{task.inputs}, the inputs of the task")
            apart = float(np.max(np.abs((inputs.T * frequencies) @ inputs - covariance)))
            allowed = "sum_c p_c x_c x_c^T of the contexts"
            close = apart <= _EXACT * float(np.max(np.abs(covariance)))
            require(close, "input_covariance", f"one that is off by {apart:.1e}", allowed)
            logits = inputs @ task.target.T
        kind = SoftmaxContexts if self.link == "softmax" else SigmoidContexts
        return kind(inputs, frequencies, self._labels(logits))

    def _labels(self, logits: Float[np.ndarray, "contexts outputs"]) -> Float[np.ndarray, "contexts outputs"]:
        outputs = logits.shape[1]
        if self.link == "sigmoid":
            hard, spread = (np.sign(logits) + 1) / 2, 0.5
            soft = np.exp(-np.logaddexp(0, -logits))
        else:
            largest = logits == logits.max(axis=1, keepdims=True)
            hard, spread = largest / largest.sum(axis=1, keepdims=True), 1 / outputs
            soft = np.exp(log_softmax(logits))
        labels = soft if self.labels == "soft" else hard
        return (1 - self.smoothing) * labels + self.smoothing * spread


def bigram(
    conditional: Sequence[Sequence[float]] | Float[np.ndarray, "contexts outputs"],
    frequencies: Sequence[float] | Float[np.ndarray, " contexts"],
    objective: CrossEntropy | None = None,
) -> LinearTask:
    """The task of a linear bigram language model: A e_c = log q_c, less its mean over outputs.

    Args:
      conditional: q(output | context), a distribution a row, with nothing at 0.
      frequencies: p_c, of each context, > 0.
      objective: default cross-entropy with these soft labels.

    Raises:
      InvalidInput: rows that are no distributions, frequencies that are none, or not as many.

    Example:
      >>> task = bigram([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], zipf(2))
      >>> round(float(task.loss_of(task.target)), 9), round(task.zero_loss, 3)
      (0.0, 0.351)
    """
    numbers("conditional", conditional, 2, sized=True)
    rows, allowed = np.asarray(conditional, np.float64), "distributions, one a row, each above 0 and of sum 1"
    require(bool(np.all(rows > 0)), "conditional", f"an entry of {rows.min():.3g}", allowed)
    off = float(np.max(np.abs(rows.sum(axis=1) - 1)))
    require(off <= _EXACT, "conditional", f"a row whose sum is off 1 by {off:.2g}", allowed)
    shares = distribution("frequencies", frequencies)
    require(len(shares) == len(rows), "frequencies", f"{len(shares)} of them", f"{len(rows)}, as contexts")
    require(bool(np.all(shares > 0)), "frequencies", f"one of {shares.min():.3g}", "above 0, each")
    logits = np.log(rows)
    told = CrossEntropy() if objective is None else require_kind("objective", objective, CrossEntropy)
    logits = logits - logits.mean(axis=1, keepdims=True)
    return LinearTask.from_target(logits.T, np.diag(shares), objective=told)


def zipf(count: int, exponent: float = 1.0) -> Float[np.ndarray, " contexts"]:
    """p_c ~ c^(-exponent), the frequencies of words by their rank; they sum to 1.

    Example:
      >>> zipf(3).round(3)
      array([0.545, 0.273, 0.182])
    """
    require_integer("count", count, at_least=1, at_most=10**5)
    require_number("exponent", exponent, at_least=0)
    shares = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return shares / shares.sum()


def distribution(field: str, values: object) -> Float[np.ndarray, " values"]:
    """Probabilities as an array that sums to 1; `InvalidInput` naming the field where they are none."""
    numbers(field, values, 1, sized=True)
    shares, allowed = np.asarray(values, np.float64), "probabilities, which sum to 1"
    require(bool(np.all(shares >= 0)), field, f"one of {shares.min():.3g}", allowed)
    require(abs(float(shares.sum()) - 1) <= _EXACT, field, f"a sum of {shares.sum():.6g}", allowed)
    return shares
