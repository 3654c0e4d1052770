"""Cuts a grammar into lexemes, as large as the lexer of llguidance can tell apart without a mistake.

That lexer takes the longest text that fits a lexeme which is allowed at its place, and never goes back.
Single characters are always safe. A larger lexeme is safe when a text that ends another one which may stand
at the same place is never followed by what would go on within this one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache, reduce
from math import inf
from operator import or_

from .automaton import Automaton, TooLarge, automaton_of, bits, common
from .characters import CharacterSet, atoms
from .grammar import Characters, Choice, Grammar, Lexeme, Part, Reference, Repeat, Sequence, children
from .positions import Positions
from .regular import MAX_SIZE, expression_of, is_nullable, nullable_rules, regular_rules, without_empty

MAX_ROUNDS = 60
MAX_LEAVES = 500
MAX_PAIRS = 60_000
"""Pairs of lexemes of which to ask whether they may stand at the same place."""

SECONDS = 3.0
"""To look for larger lexemes; where they are not found by then, each character is one."""


class _TooLong(Exception):
    """SECONDS are over."""


def with_lexemes(rules: Grammar) -> Grammar:
    """The grammar with Lexeme where there were Characters."""
    cutter = _Cutter(rules)
    try:
        return _with_large_lexemes(rules, cutter, time.monotonic() + SECONDS) or cutter.cut(None)
    except _TooLong:
        return cutter.cut(None)


def _with_large_lexemes(rules: Grammar, cutter: _Cutter, until: float) -> Grammar | None:
    """None where there is no end of splitting. Raises _TooLong when the clock passes `until`."""
    split: set[tuple[int, ...]] = set()
    safety = _Safety(rules, until)
    for _ in range(MAX_ROUNDS):
        cut = cutter.cut(split, until)
        conflicts = safety.conflicts(cut)
        if conflicts is None:
            return None
        if not conflicts:
            return cut
        split |= conflicts
    return None


def _look_at_the_clock(until: float) -> None:
    if time.monotonic() > until:
        raise _TooLong


class _Cutter:
    """Finds the largest lexemes that are not to be split. split: origins; None for all that can be."""

    def __init__(self, rules: Grammar) -> None:
        self._rules = rules
        self._regular, self._nullable = regular_rules(rules), nullable_rules(rules)
        self._split: set[tuple[int, ...]] | None = None
        self._needed: list[str] = []
        self._until = inf

    def cut(self, split: set[tuple[int, ...]] | None, until: float = inf) -> Grammar:
        """Raises _TooLong when the clock passes `until`."""
        self._split, self._needed, self._until = split, ["root"], until
        found: dict[str, Part] = {}
        while self._needed:
            if (name := self._needed.pop()) not in found:
                found[name] = self._part(self._rules[name])
        return found

    def _part(self, part: Part) -> Part:
        lexeme = self._lexeme(part, (id(part),))
        if lexeme is not None:
            return lexeme
        if isinstance(part, Reference):
            self._needed.append(part.name)
        elif isinstance(part, Choice):
            return Choice(tuple(self._part(each) for each in part.parts))
        elif isinstance(part, Repeat):
            least = 0 if is_nullable(part.part, self._nullable) else part.least
            return Repeat(self._part(part.part), least, part.most)
        elif isinstance(part, Sequence):
            return self._sequence(part)
        return part

    def _sequence(self, sequence: Sequence) -> Part:
        """Its parts, neighbours that are regular as one lexeme."""
        if self._split is None:
            return Sequence(tuple(self._part(each) for each in sequence.parts))
        found: list[Part] = []
        begin = end = 0
        while begin < len(sequence.parts):
            end = max(begin, end)
            while end < len(sequence.parts) and expression_of(sequence.parts[end], self._regular):
                end += 1
            for size in _sizes(end - begin):
                run = Sequence(sequence.parts[begin : begin + size])
                if (lexeme := self._lexeme(run, (id(sequence), begin, size))) is not None:
                    found.append(lexeme)
                    begin += size
                    break
            else:
                found.append(self._part(sequence.parts[begin]))
                begin += 1
        return Sequence(tuple(found))

    def _lexeme(self, part: Part, origin: tuple[int, ...]) -> Part | None:
        """A lexeme, perhaps an optional one; None for what is not regular or is to be split."""
        is_single = isinstance(part, Characters)
        if not is_single and (self._split is None or origin in self._split):
            return None
        _look_at_the_clock(self._until)
        whole = expression_of(part, self._regular)
        if whole is None:
            return None
        if is_nullable(part, self._nullable) and len(whole.text) * len(children(part)) > MAX_SIZE:
            return None  # without its empty text it would be about that large
        filled = without_empty(part, self._rules, self._nullable)
        if filled is None:
            return Sequence(())
        expression = expression_of(filled, self._regular)
        if expression is None:
            return None
        lexeme = Lexeme(filled, expression.text, origin)
        return lexeme if filled is part else Repeat(lexeme, 0, 1)


def _sizes(n_parts: int) -> list[int]:
    """How many of n parts to take together: all, all but what may run into the next, half of them, ..."""
    sizes = [n_parts, n_parts - 1, n_parts - 2]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    return [size for size in sizes if size > 1]


class _Safety:
    """Says which lexemes of a grammar are not safe."""

    def __init__(self, rules: Grammar, until: float) -> None:
        self._rules, self._until = rules, until
        self._atoms = atoms(_sets(rules))
        self._automata: dict[str, Automaton | None] = {}
        self._common = cache(self._common_of)

    def conflicts(self, cut: Grammar) -> set[tuple[int, ...]] | None:
        """The origins of lexemes to split; None where there are too many lexemes to look at."""
        positions = Positions(cut)
        if len(positions.leaves) == 1 and not positions.following[0]:
            return set()
        if len(positions.leaves) > MAX_LEAVES:
            return None
        lexemes = [each if isinstance(each, Lexeme) else None for each in positions.leaves]
        found = {lexeme.origin for lexeme in lexemes if lexeme and self._automaton(lexeme) is None}
        if found:
            return found
        begins = [self._first_bytes(lexeme) if lexeme else 0 for lexeme in lexemes]
        behind = [_union(begins[j] for j in bits(following)) for following in positions.following]
        together = [0] * len(lexemes)
        waiting: list[tuple[int, int]] = []

        def add(some: int, others: int) -> None:
            for i in bits(some):
                new = others & ~together[i]
                together[i] |= new
                waiting.extend((i, j) for j in bits(new))

        add(positions.first, positions.first)
        done = 0
        while waiting:
            i, j = waiting.pop()
            if (done := done + 1) > MAX_PAIRS:
                return None
            _look_at_the_clock(self._until)
            first, second = lexemes[i], lexemes[j]
            if first is None or second is None:
                if first is second:
                    add(positions.following[i], positions.following[j])
                continue
            have_common_text, going_on = self._common(first.regex, second.regex)
            if going_on & behind[i]:
                found.add(second.origin)
            if have_common_text:
                add(positions.following[i], positions.following[j])
                add(positions.following[j], positions.following[i])
        return found

    def _automaton(self, lexeme: Lexeme) -> Automaton | None:
        """None for one with more than MAX_STATES states."""
        if lexeme.regex not in self._automata:
            _look_at_the_clock(self._until)
            try:
                self._automata[lexeme.regex] = automaton_of(lexeme.part, self._rules, self._atoms)
            except TooLarge:
                self._automata[lexeme.regex] = None
        return self._automata[lexeme.regex]

    def _first_bytes(self, lexeme: Lexeme) -> int:
        automaton = self._automaton(lexeme)
        assert automaton is not None
        return self._bytes_of(automaton.transitions[0])

    def _common_of(self, first: str, second: str) -> tuple[bool, int]:
        """Whether both have a text in common; the bytes that go on in the second where the first ends."""
        a, b = self._automata[first], self._automata[second]
        assert a is not None
        assert b is not None
        have_common_text, going_on = common(a, b)
        return have_common_text, self._bytes_of(going_on)

    def _bytes_of(self, found: Iterable[int]) -> int:
        return _union(self._atoms[atom].first_bytes for atom in found)


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)


def _sets(rules: Grammar) -> list[CharacterSet]:
    found, waiting = [], list(rules.values())
    while waiting:
        part = waiting.pop()
        if isinstance(part, Characters):
            found.append(part.characters)
        waiting.extend(children(part))
    return found
