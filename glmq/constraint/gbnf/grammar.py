"""What a GBNF grammar says: rules, and the parts of which they consist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .characters import CharacterSet


@dataclass(frozen=True, eq=False)
class Characters:
    """One character of a set."""

    characters: CharacterSet


@dataclass(frozen=True, eq=False)
class Sequence:
    """One part after the other; nothing when there are no parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """One of the parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Repeat:
    """A part at least `least` times, and at most `most` times unless that is None."""

    part: Part
    least: int
    most: int | None


@dataclass(frozen=True, eq=False)
class Reference:
    """What the rule of this name says."""

    name: str


@dataclass(frozen=True, eq=False)
class Token:
    """One token of the vocabulary, or with `negated` any but this one.

    name: its id or its text. place: where the grammar names it, in words.
    """

    name: int | str
    negated: bool
    place: str


@dataclass(frozen=True, eq=False)
class Lexeme:
    """A part that llguidance's lexer tells apart as one piece.

    part: what it consists of, without recursion and never empty. regex: the same as a regular expression.
    origin: what it was made of; two Lexemes of one origin are the same.
    """

    part: Part
    regex: str
    origin: tuple[int, ...]


Part = Characters | Sequence | Choice | Repeat | Reference | Token | Lexeme
Grammar = Mapping[str, Part]
"""Rules by name. Only those that `root` needs; each can come to an end."""

NOTHING = Sequence(())


def children(part: Part) -> tuple[Part, ...]:
    """The parts of which a part consists; of a reference none."""
    if isinstance(part, Sequence | Choice):
        return part.parts
    return (part.part,) if isinstance(part, Repeat) else ()
