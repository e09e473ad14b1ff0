"""Cross-entropy over labelled examples: a softmax network on data, whose labels need not be those of any linear map.

Of the logits P x_n of n examples, each with a distribution q_n of labels, the loss is

    L(P) = (1/n) sum_n KL(q_n || softmax(P x_n)),

above the entropy of the labels, which hard ones do not have. Examples that a linear map separates have no least loss:
margins grow for ever. Examples are arrays, known by their content, and a result tells of them how many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from linsim.errors import numbers, require, require_integer, require_number
from linsim.objectives.contexts import SoftmaxContexts
from linsim.tasks import LinearTask

_EXACT = 1e-9  # to which labels sum to 1, and inputs have the covariance of their task
_MOST_CLASSES = 10**5


@dataclass(frozen=True, eq=False, repr=False)
class LabelledExamples:
    """The objective of a task that examples pose to a softmax network; `classified` makes the task.

    Example:
      >>> LabelledExamples(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0], [0, 1], [0.5, 0.5]]))
      LabelledExamples(3 of 2 inputs and 2 classes)
    """

    inputs: Float[np.ndarray, "examples d_in"]
    """x_n."""
    labels: Float[np.ndarray, "examples d_out"]
    """q_n, a distribution a row."""

    def __post_init__(self) -> None:
        for name in ("inputs", "labels"):
            array = np.array(numbers(name, getattr(self, name), 2, sized=True), np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        count, labels = len(self.inputs), self.labels
        require(len(labels) == count, "labels", f"{len(labels)} rows", f"{count}, as inputs")
        allowed = "distributions, one a row, of numbers >= 0 whose sum is 1"
        require(bool(np.all(labels >= 0)), "labels", f"an entry of {labels.min():.3g}", allowed)
        off = float(np.max(np.abs(labels.sum(axis=1) - 1)))
        require(off <= _EXACT, "labels", f"a row whose sum is off 1 by {off:.2g}", allowed)

    units = "nats"
    """Of losses."""

    @property
    def convention(self) -> str:
        """What losses are, in words."""
        return (
            f"L(P) = mean over {len(self.inputs)} examples x of KL(labels || softmax(P x)) in nats, "
            "P = W_L ... W_1; W_1 is the input layer"
        )

    def on(self, task: LinearTask) -> SoftmaxContexts:
        """The loss of a task.

        Raises:
          InvalidInput: a task of other inputs, outputs or covariance than the examples have, or with label noise.
        """
        require(task.label_noise == 0, "label_noise", task.label_noise, "0: labels are distributions")
        shape, own = (task.outputs, task.inputs), (self.labels.shape[1], self.inputs.shape[1])
        require(shape == own, "target", f"shape {shape}", f"shape {own}, as examples have classes and inputs")
        apart = float(np.max(np.abs(_covariance(self.inputs) - task.input_covariance)))
        close = apart <= _EXACT * float(np.max(np.abs(task.input_covariance)))
        require(close, "input_covariance", f"one that is off by {apart:.1e}", "X^T X / n of the examples")
        return SoftmaxContexts(self.inputs, np.full(len(self.inputs), 1 / len(self.inputs)), self.labels)

    @cached_property
    def _content(self) -> tuple[tuple[int, ...], str]:
        arrays = self.inputs, self.labels
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
        return (*self.inputs.shape, self.labels.shape[1]), digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelledExamples) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        (count, inputs, classes), _ = self._content
        return f"LabelledExamples({count} of {inputs} inputs and {classes} classes)"


def classified(
    inputs: Sequence[Sequence[float]] | Float[np.ndarray, "examples d_in"],
    classes: Sequence[int] | Int[np.ndarray, " examples"],
    outputs: int | None = None,
    smoothing: float = 0.0,
) -> LinearTask:
    """The task that classified examples pose to a linear softmax network without biases.

    Its matrix A, which decides no loss, is the least-squares map to the labels less their mean over classes, and
    S = X^T X / n. Centre the columns first where an intercept is wanted.

    Args:
      inputs: x_n, one a row.
      classes: of each example, integers from 0 on.
      outputs: d_out; default as many as there are classes, up to the largest.
      smoothing: share of every label that is spread evenly over all outputs, in [0, 1).

    Raises:
      InvalidInput: inputs that are no numbers or all 0, classes that are no integers in [0, outputs), or not as many.

    Example:
      >>> task = classified([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0, 1, 1], smoothing=0.1)
      >>> task.objective, round(task.zero_loss, 3)
      (LabelledExamples(3 of 2 inputs and 2 classes), 0.495)
    """
    told, given = np.asarray(numbers("inputs", inputs, 2, sized=True), np.float64), numbers("classes", classes, 1)
    require(bool(told.any()), "inputs", "inputs that are all 0", "inputs that say something")
    require(len(given) == len(told), "classes", f"{len(given)} of them", f"{len(told)}, as inputs")
    if outputs is not None:
        require_integer("outputs", outputs, at_least=2, at_most=_MOST_CLASSES)
    allowed = "integers >= 0" if outputs is None else f"integers from 0 to {outputs - 1}"
    names = np.asarray(given).astype(np.int64)
    require(bool(np.all((names == given) & (names >= 0))), "classes", given, allowed)
    count = int(names.max()) + 1 if outputs is None else outputs
    require_integer("outputs", count, at_least=2, at_most=_MOST_CLASSES)
    require(int(names.max()) < count, "classes", f"one of {names.max()}", allowed)
    require_number("smoothing", smoothing, at_least=0, below=1)
    labels = (1 - smoothing) * np.eye(count)[names] + smoothing / count
    solution, *_ = np.linalg.lstsq(told, labels - 1 / count, rcond=None)
    return LinearTask.from_target(solution.T, _covariance(told), objective=LabelledExamples(told, labels))


def _covariance(inputs: Float[np.ndarray, "examples d_in"]) -> Float[np.ndarray, "d_in d_in"]:
    moment = inputs.T @ inputs / len(inputs)
    return np.asarray(0.5 * (moment + moment.T))
