"""Linear regression tasks, and the pair of them that a transfer is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from linsim.errors import (
    LARGEST,
    brief,
    numbers,
    require,
    require_choice,
    require_integer,
    require_kind,
    require_number,
)
from linsim.losses import Objective, TaskLoss

Matrix = Float[np.ndarray, "_ _"]

MOST_EXAMPLES = 10**9
"""That a task is posed by."""

_WIDEST = 10**5  # of a task, whose bases are square matrices
_ORTHONORMAL = 1e-10  # a d x d float64 QR is orthonormal to about d * 2e-16; d up to 1e4 passes


@dataclass(frozen=True, eq=False)
class LinearTask:
    """A task y = A x + noise with inputs x ~ (0, S).

    A = sum_i sigma_i u_i v_i^T. A mode (feature) i is the triple (u_i, sigma_i, v_i). The full orthonormal
    bases are kept beside the strengths, so modes stay identifiable when strengths repeat or vanish.
    """

    left: Float[np.ndarray, "d_out d_out"]
    """Output basis U; its first columns are the modes' u_i."""
    strengths: Float[np.ndarray, " modes"]
    """sigma_i for i = 1..min(d_out, d_in); zero for absent modes, negative allowed."""
    right: Float[np.ndarray, "d_in d_in"]
    """Input basis V; its first columns are the modes' v_i."""
    input_covariance: Float[np.ndarray, "inputs inputs"]
    """Second moment S = E[x x^T] of the inputs."""
    label_noise: float = 0.0
    """Standard deviation of the noise on each output. Its constant d_out * label_noise^2 is not part of any loss."""
    objective: Objective | None = None
    """What is minimised; None is squared error. Of others a few solvers know: `linsim.objectives`."""

    def __post_init__(self) -> None:
        for name, dims in {"left": 2, "strengths": 1, "right": 2, "input_covariance": 2}.items():
            object.__setattr__(self, name, numbers(name, getattr(self, name), dims, sized=True))
        _require_basis("left", self.left)
        _require_basis("right", self.right)
        modes = min(self.outputs, self.inputs)
        require(self.strengths.shape == (modes,), "strengths", self.strengths.shape, f"shape ({modes},)")
        _require_covariance("input_covariance", self.input_covariance, self.inputs)
        require_number("label_noise", self.label_noise, at_least=0, at_most=LARGEST)
        own = isinstance(self.objective, Objective | None) and not isinstance(self.objective, type)
        require(own, "objective", self.objective, "None, or an objective of linsim.objectives")
        _ = self.own_loss

    @classmethod
    def create(
        cls,
        strengths: Float[np.ndarray, " given"],
        *,
        outputs: int | None = None,
        inputs: int | None = None,
        left: Matrix | None = None,
        right: Matrix | None = None,
        input_covariance: Matrix | None = None,
        label_noise: float = 0.0,
        objective: Objective | None = None,
    ) -> LinearTask:
        """A task from its strengths; missing ones are zero, bases and covariance default to the identity.

        Raises:
          InvalidInput: more strengths than min(outputs, inputs), or bases that are not orthonormal.
        """
        strengths = numbers("strengths", strengths, 1, least=0)
        outputs = len(strengths) if outputs is None else outputs
        inputs = len(strengths) if inputs is None else inputs
        require_integer("outputs", outputs, at_least=1, at_most=_WIDEST)
        require_integer("inputs", inputs, at_least=1, at_most=_WIDEST)
        modes = min(outputs, inputs)
        allowed = f"at most min(outputs, inputs) = {modes} values"
        require(len(strengths) <= modes, "strengths", f"{len(strengths)} values", allowed)
        return cls(
            left=np.eye(outputs) if left is None else left,
            strengths=np.concatenate([strengths, np.zeros(modes - len(strengths))]),
            right=np.eye(inputs) if right is None else right,
            input_covariance=np.eye(inputs) if input_covariance is None else input_covariance,
            label_noise=label_noise,
            objective=objective,
        )

    @classmethod
    def from_target(
        cls,
        target: Float[np.ndarray, "d_out d_in"],
        input_covariance: Matrix | None = None,
        label_noise: float = 0.0,
        objective: Objective | None = None,
    ) -> LinearTask:
        """A task from its matrix A of shape (d_out, d_in); the modes are those of its singular value decomposition."""
        target = numbers("target", target, 2, sized=True)
        left, strengths, right = np.linalg.svd(target)
        covariance = np.eye(target.shape[1]) if input_covariance is None else input_covariance
        return cls(left, strengths, right.T, covariance, label_noise, objective)

    @classmethod
    def from_data(cls, X: np.ndarray, Y: np.ndarray) -> LinearTask:
        """The task that data pose to a linear network without biases.

        S = X^T X / n, A = the least-squares map of smallest norm, label noise = root mean square residual per
        output. With these, L(P) = (1/n) sum ||P x - y||^2 up to the noise constant, exactly. Centre the columns
        first where an intercept is wanted.

        Args:
          X: inputs of shape (n, d_in).
          Y: outputs of shape (n, d_out).
        """
        X, Y = numbers("X", X, 2, sized=True), numbers("Y", Y, 2, sized=True)
        require(len(X) == len(Y), "Y", f"{len(Y)} rows", f"as many rows as X, {len(X)}")
        require(bool(X.any()), "X", "inputs that are all 0", "inputs that say something")
        solution, *_ = np.linalg.lstsq(X, Y, rcond=None)
        residual = Y - X @ solution
        return cls.from_target(solution.T, _symmetric(X.T @ X / len(X)), float(np.sqrt(np.mean(residual**2))))

    def posed(
        self, size: int, noise: float, rng: np.random.Generator, inputs: Literal["orthogonal", "normal"] = "normal"
    ) -> LinearTask:
        """The task that n noisy examples of this one pose: held-out loss is that of this one, training loss of that.

        Args:
          size: n, number of examples.
          noise: standard deviation of the noise on each output of an example.
          rng: examples are drawn from it.
          inputs: "normal" vectors x ~ N(0, S), and the task is `from_data`; or "orthogonal" ones, X^T X / n = S
            exactly, which is taken as A with errors of standard deviation noise / sqrt(n) on every entry.
        """
        require(self.objective is None, "objective", self.objective, "None: examples pose a task of squared error")
        require_integer("size", size, at_least=1, at_most=MOST_EXAMPLES)
        require_number("noise", noise, at_least=0, at_most=LARGEST)
        require_kind("rng", rng, np.random.Generator, "a numpy.random.Generator")
        require_choice("inputs", inputs, ("orthogonal", "normal"))
        if inputs == "orthogonal":
            error = noise / np.sqrt(size) * rng.standard_normal(self.target.shape)
            return LinearTask.from_target(self.target + error, self.input_covariance, noise) if noise else self
        factor = np.linalg.cholesky(self.input_covariance + 1e-12 * np.eye(self.inputs))
        X = rng.standard_normal((size, self.inputs)) @ factor.T
        return LinearTask.from_data(X, X @ self.target.T + noise * rng.standard_normal((size, self.outputs)))

    @property
    def outputs(self) -> int:
        """d_out."""
        return self.left.shape[0]

    @property
    def inputs(self) -> int:
        """d_in."""
        return self.right.shape[0]

    @cached_property
    def target(self) -> Float[np.ndarray, "d_out d_in"]:
        """A, of shape (d_out, d_in), read-only."""
        modes = len(self.strengths)
        product = (self.left[:, :modes] * self.strengths) @ self.right[:, :modes].T
        product.setflags(write=False)
        return product

    @property
    def whitened(self) -> bool:
        """Whether S = I."""
        return np.array_equal(self.input_covariance, np.eye(self.inputs))

    def along_modes(self, product: Float[np.ndarray, "d_out d_in"]) -> Float[np.ndarray, " modes"]:
        """u_i^T P v_i: how much of every mode of this task is in a product; sigma_i for P = A; NaN where P is."""
        modes, product = len(self.strengths), self._map(product)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.einsum("oi,od,di->i", self.left[:, :modes], product, self.right[:, :modes])

    def loss_of(self, product: Float[np.ndarray, "*runs d_out d_in"]) -> Float[np.ndarray, "*runs"]:
        """Population loss tr((P - A) S (P - A)^T), or the objective's, of maps P with any leading axes.

        NaN or infinite where P diverged.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            if self.own_loss is not None:
                return np.asarray(self.own_loss.loss(np.asarray(self._map(product), np.float64)))
            residual = self._map(product) - self.target
            return np.asarray(np.sum((residual @ self.input_covariance) * residual, axis=(-2, -1)))

    def _map(self, product: np.ndarray) -> np.ndarray:
        """Maps from its inputs to its outputs, NaN where a run diverged."""
        shape = (self.outputs, self.inputs)
        real = getattr(getattr(product, "dtype", None), "kind", "O") in "iuf" and product.shape[-2:] == shape
        require(real, "product", brief(product), f"an array of real numbers of shape (..., {shape[0]}, {shape[1]})")
        return product

    @cached_property
    def own_loss(self) -> TaskLoss | None:
        """The loss of its objective, in NumPy; None of squared error."""
        return None if self.objective is None else self.objective.on(self)

    @property
    def zero_loss(self) -> float:
        """Loss of the zero map, tr(A S A^T) of squared error: the scale on which losses of this task are large."""
        return float(self.loss_of(np.zeros_like(self.target)))

    def __repr__(self) -> str:
        strengths = f"{self.strengths[0]:.3g} ... {self.strengths[-1]:.3g}"
        inputs = "whitened" if self.whitened else f"inputs with tr S = {np.trace(self.input_covariance):.3g}"
        noise = f", label noise {self.label_noise:.3g}" if self.label_noise else ""
        own = "" if self.objective is None else f", {self.objective}"
        return f"LinearTask({self.inputs} -> {self.outputs}, strengths {strengths}, {inputs}{noise}{own})"


@dataclass(frozen=True, eq=False)
class Transfer:
    """A pre-training task and the fine-tuning task that follows it, of the same shape."""

    pretrain: LinearTask
    finetune: LinearTask

    def __post_init__(self) -> None:
        for name in ("pretrain", "finetune"):
            require_kind(name, getattr(self, name), LinearTask)
        shape, second = self.pretrain.target.shape, self.finetune.target.shape
        require(shape == second, "finetune", f"a {second} target", f"the shape {shape} of the pre-training target")

    @property
    def whitened(self) -> bool:
        """Whether S = I in both tasks."""
        return self.pretrain.whitened and self.finetune.whitened

    @property
    def difference(self) -> Float[np.ndarray, "d_out d_in"]:
        """D = A_ft - A."""
        return self.finetune.target - self.pretrain.target

    @property
    def learned_loss(self) -> float:
        """Fine-tuning loss of a network that has learned the pre-training task, tr(D S_ft D^T)."""
        return float(self.finetune.loss_of(self.pretrain.target))

    def __repr__(self) -> str:
        return f"Transfer(\n  pretrain: {self.pretrain}\n  finetune: {self.finetune}\n)"


def random_basis(size: int, rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    """An orthonormal basis drawn from the Haar measure.

    Example:
      >>> basis = ls.random_basis(3, np.random.default_rng(0))
      >>> bool(np.allclose(basis.T @ basis, np.eye(3)))
      True
    """
    require_integer("size", size, at_least=1, at_most=_WIDEST)
    require_kind("rng", rng, np.random.Generator, "a numpy.random.Generator")
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


def _symmetric(matrix: Matrix) -> Matrix:
    return 0.5 * (matrix + matrix.T)


def _require_basis(field: str, basis: Matrix) -> None:
    require(basis.shape[0] == basis.shape[1], field, f"shape {basis.shape}", "a square matrix")
    small = np.max(np.abs(basis)) < 2  # whose products stay numbers
    error = float(np.max(np.abs(basis.T @ basis - np.eye(len(basis))))) if small else np.inf
    require(error <= _ORTHONORMAL, field, f"columns off orthonormal by {error:.1e}", f"at most {_ORTHONORMAL:.0e}")


def _require_covariance(field: str, covariance: Matrix, inputs: int) -> None:
    require(covariance.shape == (inputs, inputs), field, f"shape {covariance.shape}", f"shape ({inputs}, {inputs})")
    require(bool(covariance.any()), field, "0 everywhere", "inputs that vary")
    require(bool(np.array_equal(covariance, covariance.T)), field, "an asymmetric matrix", "a symmetric matrix")
    lowest, highest = np.linalg.eigvalsh(covariance)[[0, -1]]
    semidefinite = lowest >= -1e-12 * max(float(highest), 0.0)  # rounding of an eigenvalue that is exactly zero
    require(bool(semidefinite), field, f"eigenvalue {lowest:.3g}", "positive semidefinite")
