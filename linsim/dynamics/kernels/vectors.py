"""Code for vectors of numbers, written down as it is computed: what arithmetic on `Vector` does is kept as LLVM's text.

Functions of the library that only add, subtract and multiply, such as `linsim.dynamics.modes.mode_steps.step`, take
vectors in place of arrays, so that an equation that stands in one place is what is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Integer = int | str
"""One that is known, or the name of one that is computed."""

Dtype = Literal["float32", "float64"]


@dataclass(frozen=True)
class Registers:
    """What a processor holds numbers in."""

    dtype: Dtype
    bits: int
    """Of a register."""
    count: int

    @property
    def number(self) -> str:
        """LLVM's name of one number."""
        return {"float32": "float", "float64": "double"}[self.dtype]

    @property
    def bytes(self) -> int:
        """Of one number."""
        return {"float32": 4, "float64": 8}[self.dtype]

    @property
    def width(self) -> int:
        """Numbers of a register."""
        return self.bits // 8 // self.bytes

    @property
    def vector(self) -> str:
        """LLVM's name of a register's content."""
        return f"<{self.width} x {self.number}>"


@dataclass(frozen=True, eq=False)
class Vector:
    """A register's content. A product and a sum that takes it are one operation where the processor has it."""

    code: Code
    name: str

    def __add__(self, other: Vector) -> Vector:
        return self._with("fadd", other)

    def __sub__(self, other: Vector) -> Vector:
        return self._with("fsub", other)

    def __mul__(self, other: Vector) -> Vector:
        return self._with("fmul", other)

    def _with(self, operation: str, other: Vector) -> Vector:
        return self.code.vector(f"{operation} contract {self.code.registers.vector} {self.name}, {other.name}")


class Code:
    """A function  void run(ptr table, i64 first, i64 count, i64 steps, ptr scratch)  on its way.

    The table holds pointers to arrays; `first` and `count` say which lanes of them are meant.
    """

    def __init__(self, registers: Registers) -> None:
        self.registers = registers
        self._lines: list[str] = []
        self._names = 0
        self._block = "entry"

    def word(self, text: str) -> str:
        """An instruction that gives an integer, an address or one number; its name."""
        self._names += 1
        self._lines.append(f"%n{self._names} = {text}")
        return f"%n{self._names}"

    def vector(self, text: str) -> Vector:
        """An instruction that gives a vector."""
        return Vector(self, self.word(text))

    def do(self, text: str) -> None:
        """An instruction that gives nothing."""
        self._lines.append(text)

    def whole(self, *terms: Integer | tuple[Integer, Integer]) -> Integer:
        """A sum of integers, and of products of two."""
        known, sum_ = 0, ""
        for term in terms:
            left, right = term if isinstance(term, tuple) else (term, 1)
            if isinstance(left, int) and isinstance(right, int):
                known += left * right
                continue
            product = left if right == 1 else self.word(f"mul i64 {left}, {right}")
            sum_ = self.word(f"add i64 {sum_}, {product}") if sum_ else str(product)
        if not sum_:
            return known
        return self.word(f"add i64 {sum_}, {known}") if known else sum_

    def array(self, number: int) -> str:
        """Where the array of that number in the table begins."""
        return self.word(f"load ptr, ptr {self.word(f'getelementptr ptr, ptr %table, i64 {number}')}")

    def address(self, base: str, number: Integer) -> str:
        """Of a number in an array."""
        return self.word(f"getelementptr {self.registers.number}, ptr {base}, i64 {number}")

    def load(self, address: str) -> Vector:
        """As many numbers as a register has, from an address on."""
        return self.vector(f"load {self.registers.vector}, ptr {address}, align {self.registers.bytes}")

    def store(self, vector: Vector, address: str) -> None:
        """A vector to an address."""
        self.do(f"store {self.registers.vector} {vector.name}, ptr {address}, align {self.registers.bytes}")

    def everywhere(self, address: str) -> Vector:
        """One number from memory, at every place of a vector."""
        kind = self.registers.vector
        number = self.word(f"load {self.registers.number}, ptr {address}")
        first = self.word(f"insertelement {kind} poison, {self.registers.number} {number}, i32 0")
        same = f"<{self.registers.width} x i32> zeroinitializer"
        return self.vector(f"shufflevector {kind} {first}, {kind} poison, {same}")

    def copy(self, source: str, target: str) -> None:
        """One number from an address to another."""
        number = self.word(f"load {self.registers.number}, ptr {source}")
        self.do(f"store {self.registers.number} {number}, ptr {target}")

    def zero(self) -> Vector:
        """A vector of zeros."""
        return Vector(self, "zeroinitializer")

    def places(self, one: Vector, two: Vector, places: Sequence[int]) -> Vector:
        """A vector of what stands at places of two, counted through both."""
        kind, where = self.registers.vector, ", ".join(f"i32 {place}" for place in places)
        chosen = f"<{self.registers.width} x i32> <{where}>"
        return self.vector(f"shufflevector {kind} {one.name}, {kind} {two.name}, {chosen}")

    def loop(
        self,
        count: Integer,
        body: Callable[[Integer, list[Vector]], list[Vector] | None],
        carried: Sequence[Vector] = (),
        by: int = 1,
    ) -> list[Vector]:
        """What is carried after the body for 0, by, 2 by, ... below the count; at least once where that is computed.

        Args:
          count: how many, of whole `by`.
          body: of the number and what is carried, gives what is carried on.
          carried: vectors, before the first turn.
          by: how far the number goes each turn.
        """
        if isinstance(count, int) and count <= by:
            return list((body(0, list(carried)) or ()) if count else carried)
        number, phis = self.word(""), [self.vector("") for _ in carried]
        head, end, before = f"head{number[1:]}", f"end{number[1:]}", self._block
        opening = len(self._lines) - 1 - len(phis)
        self._block = head
        result = body(number, phis) or []
        after = self.word(f"add nuw nsw i64 {number}, {by}")
        more = self.word(f"icmp ult i64 {after}, {count}")
        self.do(f"br i1 {more}, label %{head}, label %{end}")
        starts = [f"br label %{head}", f"{head}:", f"{number} = phi i64 [0, %{before}], [{after}, %{self._block}]"]
        starts += [
            f"{phi.name} = phi {self.registers.vector} [{begun.name}, %{before}], [{went.name}, %{self._block}]"
            for phi, begun, went in zip(phis, carried, result, strict=True)
        ]
        self._lines[opening : opening + 1 + len(phis)] = ["\n".join(starts)]
        self.do(f"{end}:")
        self._block = end
        return result

    def text(self) -> str:
        """The function, within which numbers too small for full precision count as 0, as in programs of XLA."""
        entry = "define void @run(ptr %table, i64 %first, i64 %count, i64 %steps, ptr %scratch)"
        wide = f'"prefer-vector-width"="{self.registers.bits}"'
        return "\n".join(
            [_CONTROL, f"{entry} {wide} {{", "entry:", *_FLUSHED, *self._lines, *_AS_BEFORE, "ret void", "}", ""]
        )


# Bits 6 and 15 of the control register of x86: what is read, and what comes out, is flushed to 0.
_CONTROL = "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)"
_FLUSHED = (
    "%before = alloca i32",
    "%during = alloca i32",
    "call void @llvm.x86.sse.stmxcsr(ptr %before)",
    "%control = load i32, ptr %before",
    f"%flushing = or i32 %control, {1 << 6 | 1 << 15}",
    "store i32 %flushing, ptr %during",
    "call void @llvm.x86.sse.ldmxcsr(ptr %during)",
)
_AS_BEFORE = ("call void @llvm.x86.sse.ldmxcsr(ptr %before)",)
