"""Where the pieces of a grammar stand: which may come first, and which may follow which."""

from __future__ import annotations

from .automaton import bits
from .checks import references
from .grammar import Grammar, Lexeme, Part, Reference, Repeat, Sequence, Token, children
from .regular import is_nullable, nullable_rules


class Positions:
    """Glushkov's sets. A set of leaves is an integer, bit i for leaves[i].

    leaves: every Lexeme and Token. first: those with which a text may begin. following: for each leaf those
    that may come behind it, in any place where the rule that has it is used.
    """

    def __init__(self, rules: Grammar) -> None:
        self._rules, self._nullable = rules, nullable_rules(rules)
        self._ids: dict[int, int] = {}
        self.leaves: list[Lexeme | Token] = []
        for part in rules.values():
            self._number(part)
        self._firsts: dict[str, int] = {}
        self._lasts: dict[str, int] = {}
        self._settle()
        self.first = self._firsts["root"]
        self.following = [0] * len(self.leaves)
        for part in rules.values():
            self._follow(part)

    def _number(self, part: Part) -> None:
        if isinstance(part, Lexeme | Token):
            self._ids[id(part)] = len(self.leaves)
            self.leaves.append(part)
        for each in children(part):
            self._number(each)

    def _settle(self) -> None:
        """Work out the first and last leaves of all rules."""
        users: dict[str, list[str]] = {name: [] for name in self._rules}
        for name, part in self._rules.items():
            for used in references(part):
                users[used].append(name)
        waiting = dict.fromkeys(self._rules)
        while waiting:
            name, _ = waiting.popitem()
            edges = self._edge(self._rules[name], True), self._edge(self._rules[name], False)
            if edges != (self._firsts.get(name), self._lasts.get(name)):
                self._firsts[name], self._lasts[name] = edges
                waiting.update(dict.fromkeys(users[name]))

    def _edge(self, part: Part, at_begin: bool) -> int:
        """The leaves with which texts of a part begin or end."""
        if isinstance(part, Lexeme | Token):
            return 1 << self._ids[id(part)]
        if isinstance(part, Reference):
            return (self._firsts if at_begin else self._lasts).get(part.name, 0)
        found = 0
        for each in children(part) if at_begin else reversed(children(part)):
            found |= self._edge(each, at_begin)
            if isinstance(part, Sequence) and not is_nullable(each, self._nullable):
                break
        return found

    def _follow(self, part: Part) -> None:
        for each in children(part):
            self._follow(each)
        if isinstance(part, Repeat) and part.most != 1:
            self._join(self._edge(part.part, False), self._edge(part.part, True))
        if isinstance(part, Sequence):
            before = 0
            for each in part.parts:
                self._join(before, self._edge(each, True))
                kept = before if is_nullable(each, self._nullable) else 0
                before = kept | self._edge(each, False)

    def _join(self, before: int, after: int) -> None:
        for leaf in bits(before):
            self.following[leaf] |= after
