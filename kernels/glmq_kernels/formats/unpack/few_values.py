"""What a type says of itself whose weights can be turned into nibbles as they are loaded (`nibbles.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...simd.addresses import inline, load_half
from ...simd.vectors import Vector, make_constant


@dataclass(frozen=True)
class FewValues:
    """A type's weights as `factor * multiple * value`, without rounding.

    values: up to 16 integers, ascending, that a weight can be: u of `unpack` less OFFSET. multiples(p): of
    the groups of 256 weights, int32 lanes from -128 to 127. factor(p): of all of them, float32.
    """

    values: tuple[int, ...]
    multiples: Any
    factor: Any


def with_negatives(magnitudes: Iterable[int]) -> tuple[int, ...]:
    """Positive integers and their negatives, ascending."""
    return tuple(sorted(sign * value for value in magnitudes for sign in (-1, 1)))


def make_odd(of_groups: Any, lanes: int) -> Any:
    """`multiples(p)`: 2 a + 1, of a function that gives a for each group (int32)."""
    one = make_constant(Vector("i32", lanes), [1] * lanes)

    @inline
    def multiples(p):
        a = of_groups(p)
        return a + a + one()

    return multiples


def make_half_factor(at: int, unit: float) -> Any:
    """`factor(p)`: a float16 at some place of the block, in units of a power of two."""

    @inline
    def factor(p):
        return load_half(p + at) * unit

    return factor
