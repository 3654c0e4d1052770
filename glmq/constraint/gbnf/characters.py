"""Sets of characters, as classes such as `[^a-z]` name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
"""Code points that are no characters: UTF-8 has no form for them."""


@dataclass(frozen=True)
class CharacterSet:
    """ranges: (first, last) code points, sorted, apart from each other, without surrogates."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> CharacterSet:
        """The union of any ranges."""
        found: list[tuple[int, int]] = []
        for first, last in sorted(each for part in ranges for each in _without_surrogates(*part)):
            if found and first <= found[-1][1] + 1 and first != SURROGATES[1] + 1:
                found[-1] = (found[-1][0], max(found[-1][1], last))
            else:
                found.append((first, last))
        return cls(tuple(found))

    def negated(self) -> CharacterSet:
        """All other characters."""
        edges = [-1, *(edge for part in self.ranges for edge in part), LAST + 1]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return CharacterSet.of((after + 1, before - 1) for after, before in gaps if after + 1 < before)

    def __contains__(self, character: str) -> bool:
        return any(first <= ord(character) <= last for first, last in self.ranges)

    @cached_property
    def regex(self) -> str:
        """The set as a regular expression of Rust, also between the slashes of Lark."""
        if len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]:
            return _escaped(self.ranges[0][0])
        parts = (_escaped(a) if a == b else f"{_escaped(a)}-{_escaped(b)}" for a, b in self.ranges)
        return f"[{''.join(parts)}]"

    @cached_property
    def first_bytes(self) -> int:
        """The bytes with which the characters begin in UTF-8: bit b for byte b."""
        bits = 0
        for first, last in self.ranges:
            for byte in range(_first_byte(first), _first_byte(last) + 1):
                bits |= 1 << byte
        return bits


def atoms(sets: Iterable[CharacterSet]) -> list[CharacterSet]:
    """The largest sets of characters of which every one of `sets` has all or none."""
    edges = sorted({edge for each in sets for first, last in each.ranges for edge in (first, last + 1)})
    pieces = [CharacterSet.of([(a, b - 1)]) for a, b in pairwise(edges)]
    return [piece for piece in pieces if piece.ranges]


def members(characters: CharacterSet, parts: Sequence[CharacterSet]) -> int:
    """Which of the atoms a set has: bit i for part i."""
    bits = 0
    ranges = iter(characters.ranges)
    current = next(ranges, None)
    for i, part in enumerate(parts):
        first = part.ranges[0][0]
        while current is not None and current[1] < first:
            current = next(ranges, None)
        if current is None:
            break
        if current[0] <= first:
            bits |= 1 << i
    return bits


def _without_surrogates(first: int, last: int) -> list[tuple[int, int]]:
    before = (first, min(last, SURROGATES[0] - 1))
    after = (max(first, SURROGATES[1] + 1), last)
    return [part for part in (before, after) if part[0] <= part[1]]


def _escaped(code_point: int) -> str:
    character = chr(code_point)
    return character if character.isascii() and character.isalnum() else f"\\x{{{code_point:x}}}"


def _first_byte(code_point: int) -> int:
    return chr(code_point).encode()[0]
