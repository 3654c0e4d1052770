"""Writes a GBNF grammar in Lark's syntax for llguidance: rules stay rules, and lexemes are terminals."""

from __future__ import annotations

from collections.abc import Callable

from .grammar import Choice, Grammar, Lexeme, Part, Reference, Repeat, Sequence, Token
from .lexemes import with_lexemes
from .recursion import with_repetitions


def lark_of(grammar: Grammar, token: Callable[[Token], str]) -> str:
    """The grammar in Lark's syntax. token: what stands for a token."""
    return _Writer(with_lexemes(with_repetitions(grammar)), token).text()


class _Writer:
    """Writes rules: `start` for root, others by number, groups as rules of their own."""

    def __init__(self, rules: Grammar, token: Callable[[Token], str]) -> None:
        self._rules, self._token = rules, token
        self._names = {name: f"rule_{i}" for i, name in enumerate(rules)}
        self._lines: list[str] = []

    def text(self) -> str:
        self._lines = ["start: " + self._names["root"]]
        for name, part in self._rules.items():
            self._lines.append(f"{self._names[name]}: {self._expression(part)}")
        return "\n".join(self._lines)

    def _expression(self, part: Part) -> str:
        """What stands behind the colon of a rule."""
        if isinstance(part, Choice):
            return " | ".join(self._sequence(each) for each in part.parts)
        return self._sequence(part)

    def _sequence(self, part: Part) -> str:
        if isinstance(part, Sequence):
            return " ".join(self._sequence(each) for each in part.parts) or '""'
        return self._atom(part)

    def _atom(self, part: Part) -> str:
        """What may stand in a sequence, and before a repetition."""
        if isinstance(part, Lexeme):
            return f"/{part.regex}/"
        if isinstance(part, Reference):
            return self._names[part.name]
        if isinstance(part, Token):
            return self._token(part)
        if isinstance(part, Repeat):
            atom = self._atom(part.part)
            if isinstance(part.part, Repeat):
                atom = self._group(atom)
            return atom + {(0, None): "*", (1, None): "+", (0, 1): "?"}.get(
                (part.least, part.most), f"{{{part.least},{'' if part.most is None else part.most}}}"
            )
        return self._group(self._expression(part))

    def _group(self, expression: str) -> str:
        name = f"group_{len(self._lines)}"
        self._lines.append(f"{name}: {expression}")
        return name
