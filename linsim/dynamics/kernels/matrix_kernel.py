"""Descent of a chain of matrices: all steps of one lane, whose weights never leave the caches of a core.

The gradient is that of `linsim.dynamics.matrices.matrix_steps`. Only products of the layers below each layer are copied
transposed, once a step; weights and velocities are updated in place as their slopes come out of a product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from linsim.dynamics.kernels.products import Matrix, Spot, multiply, stride, transpose
from linsim.dynamics.kernels.vectors import Code, Integer, Registers, Vector

_NUMBERS = ("product_penalty", "weight_penalty", "weight_decay", "momentum")
_SHARED = ("target", "covariance")


@dataclass(frozen=True)
class MatrixKernel:
    """What is compiled: sizes, and the parts that an update has."""

    registers: Registers
    widths: tuple[int, ...]
    covariance: bool = False
    """Whether S is another than I."""
    product_penalty: bool = False
    weight_penalty: bool = False
    weight_decay: bool = False
    momentum: bool = False
    nesterov: bool = False

    @property
    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape, of one lane, of all that the kernel is given, in the order of its table.

        Both of `target` and `covariance` are shared by all lanes. Weights and velocities are moved where they are.
        """
        inputs, outputs = self.widths[0], self.widths[-1]
        groups = {
            "weights": True,
            "anchor": self.product_penalty or self.weight_penalty,
            "velocity": self.momentum,
        }
        layers = list(enumerate(zip(self.widths[1:], self.widths, strict=False)))
        return {
            **{name: () for name in ("learning_rate", *_NUMBERS) if getattr(self, name, True)},
            "target": (outputs, inputs),
            **({"covariance": (inputs, inputs)} if self.covariance else {}),
            **{f"{group}{number}": shape for group in groups if groups[group] for number, shape in layers},
        }

    def written(self) -> tuple[str, int]:
        """The code, and the bytes that each thread needs beside the arrays."""
        lane = _Lane(self)
        return lane.code.text(), lane.used * self.registers.bytes


class _Lane:
    """The code of a kernel, written as this is made."""

    def __init__(self, kernel: MatrixKernel) -> None:
        self.kernel, self.code, self.used = kernel, Code(kernel.registers), 0
        self.table = {name: self.code.array(number) for number, name in enumerate(kernel.arrays)}
        self.inside = {name: self.room(*shape) for name, shape in kernel.arrays.items() if shape}
        inputs, outputs = kernel.widths[0], kernel.widths[-1]
        self.layers = range(len(kernel.widths) - 1)
        self.last = self.layers[-1]
        self.partial = {
            0: self.inside["weights0"],
            **{l: self.room(kernel.widths[l + 1], inputs) for l in self.layers[1:-1]},
        }
        self.turned = {l: self.room(inputs, kernel.widths[l + 1]) for l in self.layers[:-1]}
        self.pulled = {l: self.room(kernel.widths[l + 1], inputs) for l in self.layers[1:]}
        self.residual, self.product, self.origin = (self.room(outputs, inputs) for _ in range(3))
        for name in _SHARED:
            if name in self.inside:
                self.copy(name, 0, into=True)
        self.code.loop("%count", lambda number, _: self.lane(self.code.whole(number, "%first")))

    def room(self, rows: int, columns: int) -> Matrix:
        """For one more matrix where all are worked on."""
        along = stride(columns, self.kernel.registers)
        base = self.code.address("%scratch", self.used)
        self.used += rows * along
        return Matrix(self.code, base, rows, columns, (along, 1))

    def copy(self, name: str, lane: Integer, into: bool) -> None:
        """A matrix of a lane to where it is worked on, or back."""
        code, inside = self.code, self.inside[name]
        base = code.address(self.table[name], code.whole((lane, inside.rows * inside.columns)))
        outside = Matrix(code, base, inside.rows, inside.columns, (inside.columns, 1))
        source, target = (outside, inside) if into else (inside, outside)

        def copied(row: Integer, column: Integer) -> None:
            spot = Spot(row, 0, column, 0)
            code.copy(source.at(spot), target.at(spot))

        def row(row: Integer) -> None:
            code.loop(inside.columns, lambda column, _: copied(row, column))

        code.loop(inside.rows, lambda number, _: row(number))

    def lane(self, lane: Integer) -> None:
        """All steps of one."""
        own = [name for name in self.inside if name not in _SHARED]
        for name in own:
            self.copy(name, lane, into=True)
        of_lane = (name for name, shape in self.kernel.arrays.items() if not shape)
        self.number = {name: self.code.everywhere(self.code.address(self.table[name], lane)) for name in of_lane}
        if self.kernel.product_penalty:
            self.forward("anchor", self.origin.store)
        self.code.loop("%steps", lambda _, __: self.step())
        for name in own:
            if not name.startswith("anchor"):
                self.copy(name, lane, into=False)

    def step(self) -> None:
        """P and its pull M; then, from the last layer on, its slope  M (W_{l-1} ... W_1)^T,  and  M <- W_l^T M."""
        self.forward("weights", self.excess)
        if self.kernel.covariance:
            multiply(self.residual, self.inside["covariance"], self.pull)
        for layer, partial in self.partial.items():
            transpose(partial, self.turned[layer])
        for layer in reversed(self.layers[1:]):
            below = self.update(0) if layer == 1 else self.pulled[layer - 1].store
            multiply(self.inside[f"weights{layer}"].T, self.pulled[layer], below)
            multiply(self.pulled[layer], self.turned[layer - 1], self.update(layer))

    def forward(self, group: str, finish: Callable[[Spot, Vector], None]) -> None:
        """P of weights; what the layers below the last make is left in `partial`."""
        below = self.inside[f"{group}0"]
        for layer in self.layers[1:]:
            above = finish if layer == self.last else self.partial[layer].store
            multiply(self.inside[f"{group}{layer}"], below, above)
            below = self.partial.get(layer, below)

    def excess(self, spot: Spot, product: Vector) -> None:
        """P - A, which is pulled at once where S = I."""
        residual = product - self.inside["target"].load(spot)
        if self.kernel.covariance:
            self.residual.store(spot, residual)
            self.product.store(spot, product)
        else:
            self.pull(spot, residual, product)

    def pull(self, spot: Spot, slope: Vector, product: Vector | None = None) -> None:
        """M = 2 (P - A) S + 2 lambda (P - P_0) of the first term's half."""
        if self.kernel.product_penalty:
            product = self.product.load(spot) if product is None else product
            slope = slope + self.number["product_penalty"] * (product - self.origin.load(spot))
        self.pulled[self.last].store(spot, slope + slope)

    def update(self, layer: int) -> Callable[[Spot, Vector], None]:
        """W <- W - eta (slope + mu (W - W_0) + beta W), or what momentum makes of that."""
        kernel, number, inside = self.kernel, self.number, self.inside

        def finish(spot: Spot, slope: Vector) -> None:
            weight = inside[f"weights{layer}"].load(spot)
            if kernel.weight_penalty:
                slope = slope + number["weight_penalty"] * (weight - inside[f"anchor{layer}"].load(spot))
            if kernel.weight_decay:
                slope = slope + number["weight_decay"] * weight
            if kernel.momentum:
                velocity = slope + number["momentum"] * inside[f"velocity{layer}"].load(spot)
                inside[f"velocity{layer}"].store(spot, velocity)
                slope = slope + number["momentum"] * velocity if kernel.nesterov else velocity
            inside[f"weights{layer}"].store(spot, weight - number["learning_rate"] * slope)

        return finish
