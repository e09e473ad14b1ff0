"""Products of small matrices in one core: tiles of the result stay in registers while the inner index runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from linsim.dynamics.kernels.vectors import Code, Integer, Registers, Vector

_TILES = {16: (4, 2), 32: (8, 2)}
"""Rows and vectors of a tile, by the number of registers: half of them hold sums, others what is multiplied."""
_LINE = 256  # bytes; rows that begin a multiple of it apart share few places in the nearest cache


class Spot(NamedTuple):
    """Where a vector of a matrix lies."""

    row: Integer
    further: int
    """Rows beyond that."""
    column: Integer
    beyond: int
    """Columns beyond that."""


@dataclass(frozen=True)
class Matrix:
    """Numbers in memory, their rows filled up to whole vectors."""

    code: Code
    base: str
    rows: int
    columns: int
    steps: tuple[int, int]
    """Numbers from a row to the next, and from a column to the next."""

    @property
    def T(self) -> Matrix:
        """Transposed, where it lies; its vectors cannot be loaded."""
        return Matrix(self.code, self.base, self.columns, self.rows, self.steps[::-1])

    def at(self, spot: Spot) -> str:
        """The address of a place."""
        down, along = self.steps
        place = self.code.whole((spot.row, down), (spot.column, along), spot.further * down + spot.beyond * along)
        return self.code.address(self.base, place)

    def load(self, spot: Spot) -> Vector:
        """The vector at a place."""
        return self.code.load(self.at(spot))

    def store(self, spot: Spot, vector: Vector) -> None:
        """A vector to a place."""
        self.code.store(vector, self.at(spot))


def stride(columns: int, registers: Registers) -> int:
    """Numbers from a row to the next: whole vectors, and one more where rows would crowd in the cache."""
    whole = -(-columns // registers.width) * registers.width
    crowded = whole > registers.width and whole * registers.bytes % _LINE == 0
    return whole + registers.width * crowded


def multiply(left: Matrix, right: Matrix, finish: Callable[[Spot, Vector], None]) -> None:
    """left right, handed over vector by vector. Neither may change before all of its rows were used."""
    code, width = right.code, right.code.registers.width
    most_rows, most_vectors = _TILES[code.registers.count]
    vectors = -(-right.columns // width)

    def tile(row: Integer, rows: int, column: Integer, across: int) -> None:
        def add(inner: Integer, sums: list[Vector]) -> list[Vector]:
            along = [right.load(Spot(inner, 0, column, vector * width)) for vector in range(across)]
            factors = [code.everywhere(left.at(Spot(row, further, inner, 0))) for further in range(rows)]
            products = (factor * vector for factor in factors for vector in along)
            return [product + total for product, total in zip(products, sums, strict=True)]

        sums = code.loop(left.columns, add, [code.zero()] * (rows * across))
        for number, total in enumerate(sums):
            finish(Spot(row, number // across, column, number % across * width), total)

    def strip(column: Integer, across: int) -> None:
        each = -(-left.rows // -(-left.rows // most_rows))  # tiles of nearly the same height
        _tiled(code, left.rows, each, lambda row, rows: tile(row, rows, column, across))

    _tiled(code, vectors * width, most_vectors * width, lambda column, numbers: strip(column, numbers // width))


def transpose(source: Matrix, target: Matrix) -> None:
    """target = source^T, in blocks of as many vectors as a vector has numbers."""
    code, width = source.code, source.code.registers.width

    def block(row: Integer, rows: int, column: Integer, columns: int) -> None:
        vectors = [source.load(Spot(row, i, column, 0)) if i < rows else code.zero() for i in range(width)]
        for number, vector in enumerate(_transposed(code, vectors)[:columns]):
            target.store(Spot(column, number, row, 0), vector)

    def strip(row: Integer, rows: int) -> None:
        _tiled(code, source.columns, width, lambda column, columns: block(row, rows, column, columns))

    _tiled(code, source.rows, width, strip)


def _transposed(code: Code, vectors: list[Vector]) -> list[Vector]:
    """A square block: bit after bit, that of the vector's number and that of the place in it change their places."""
    width, bit = len(vectors), 1
    while bit < width:
        low = [place if not place & bit else width + place - bit for place in range(width)]
        high = [place + bit if not place & bit else width + place for place in range(width)]
        after = list(vectors)
        for number in range(width):
            if not number & bit:
                pair = vectors[number], vectors[number + bit]
                after[number], after[number + bit] = code.places(*pair, low), code.places(*pair, high)
        vectors, bit = after, 2 * bit
    return vectors


def _tiled(code: Code, length: int, by: int, part: Callable[[Integer, int], None]) -> None:
    """A length in parts of one size in a loop, and what is left."""
    whole = length // by * by
    code.loop(whole, lambda first, _: part(first, by), by=by)
    if length > whole:
        part(whole, length - whole)
