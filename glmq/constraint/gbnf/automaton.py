"""Finite automata of regular parts of a grammar, and what two of them have in common."""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from dataclasses import dataclass

from .characters import CharacterSet, members
from .grammar import Characters, Choice, Grammar, Part, Reference, Repeat, Sequence

MAX_STATES = 400


class TooLarge(Exception):
    """An automaton would have more than MAX_STATES states."""


@dataclass(frozen=True)
class Automaton:
    """A deterministic automaton over atoms of the characters. State 0 is the start.

    transitions: for each state the next one by atom. accepting: whether a text may end in a state.
    """

    transitions: tuple[dict[int, int], ...]
    accepting: tuple[bool, ...]


def automaton_of(part: Part, rules: Grammar, parts: ListOf[CharacterSet]) -> Automaton:
    """The automaton of a part that has no recursion and no tokens. parts: the atoms. Raises TooLarge."""
    network = _Network(rules, parts)
    begin, end = network.state(), network.state()
    network.add(part, begin, end)
    states = {network.closure([begin]): 0}
    transitions: list[dict[int, int]] = []
    waiting = list(states)
    for current in waiting:
        targets: dict[int, set[int]] = {}
        for state in current:
            for atoms, target in network.moves[state]:
                for atom in bits(atoms):
                    targets.setdefault(atom, set()).add(target)
        found = {}
        for atom, reached in targets.items():
            following = network.closure(sorted(reached))
            if following not in states:
                if len(states) == MAX_STATES:
                    raise TooLarge
                states[following] = len(states)
                waiting.append(following)
            found[atom] = states[following]
        transitions.append(found)
    return Automaton(tuple(transitions), tuple(end in each for each in states))


def bits(number: int) -> list[int]:
    """The places of a number's ones."""
    found = []
    while number:
        lowest = number & -number
        found.append(lowest.bit_length() - 1)
        number ^= lowest
    return found


def common(first: Automaton, second: Automaton) -> tuple[bool, set[int]]:
    """(whether some text is of both, the atoms with which a text of `first` goes on within `second`)."""
    have_common_text = False
    going_on: set[int] = set()
    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        a, b = waiting.pop()
        if first.accepting[a]:
            have_common_text |= second.accepting[b]
            going_on.update(second.transitions[b])
        for atom, following in first.transitions[a].items():
            if atom in second.transitions[b]:
                pair = (following, second.transitions[b][atom])
                if pair not in seen:
                    seen.add(pair)
                    waiting.append(pair)
    return have_common_text, going_on


class _Network:
    """States with moves on atoms and moves on nothing, as Thompson builds them."""

    def __init__(self, rules: Grammar, parts: ListOf[CharacterSet]) -> None:
        self._rules, self._atoms = rules, parts
        self.moves: list[list[tuple[int, int]]] = []
        self._free: list[list[int]] = []

    def state(self) -> int:
        if len(self.moves) >= 8 * MAX_STATES:
            raise TooLarge
        self.moves.append([])
        self._free.append([])
        return len(self.moves) - 1

    def add(self, part: Part, begin: int, end: int) -> None:
        """Ways from one state to another for every text of a part."""
        if isinstance(part, Characters):
            self.moves[begin].append((members(part.characters, self._atoms), end))
        elif isinstance(part, Reference):
            self.add(self._rules[part.name], begin, end)
        elif isinstance(part, Choice):
            for each in part.parts:
                self.add(each, begin, end)
        elif isinstance(part, Sequence):
            for each in part.parts:
                middle = self.state()
                self.add(each, begin, middle)
                begin = middle
            self._free[begin].append(end)
        elif isinstance(part, Repeat):
            self._repeat(part, begin, end)
        else:
            raise TypeError(part)

    def _repeat(self, part: Repeat, begin: int, end: int) -> None:
        for count in range(part.least if part.most is None else part.most):
            if count >= part.least:
                self._free[begin].append(end)
            following = self.state()
            self.add(part.part, begin, following)
            begin = following
        if part.most is None:
            loop = self.state()
            self._free[begin].append(loop)
            self.add(part.part, loop, loop)
            begin = loop
        self._free[begin].append(end)

    def closure(self, states: list[int]) -> frozenset[int]:
        """The states and all that moves on nothing reach from them."""
        found, waiting = set(states), list(states)
        while waiting:
            for each in self._free[waiting.pop()]:
                if each not in found:
                    found.add(each)
                    waiting.append(each)
        return frozenset(found)
