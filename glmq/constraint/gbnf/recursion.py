"""Rules that refer to themselves at one end only, written as repetitions, which cost less to follow."""

from __future__ import annotations

from .checks import references
from .grammar import NOTHING, Choice, Grammar, Part, Reference, Repeat, Sequence


def with_repetitions(rules: Grammar) -> Grammar:
    """The same language: `list ::= item "," list | item` becomes `list ::= (item ",")* item`."""
    return {name: _repeated(name, part) for name, part in rules.items()}


def _repeated(name: str, part: Part) -> Part:
    if name not in references(part):
        return part
    for at_end in (True, False):
        recursive, others = [], []
        for parts in _alternatives(name, part, at_end):
            edge, rest = (parts[-1:], parts[:-1]) if at_end else (parts[:1], parts[1:])
            if edge and isinstance(edge[0], Reference) and edge[0].name == name:
                recursive.append(rest)
            else:
                others.append(parts)
        if others and not any(name in references(Sequence(parts)) for parts in recursive + others):
            repeat = Repeat(_choice(recursive), 0, None)
            return Sequence((repeat, _choice(others)) if at_end else (_choice(others), repeat))
    return part


def _alternatives(name: str, part: Part, at_end: bool) -> list[tuple[Part, ...]]:
    """The sequences of which a part is one; options of which its edge consists are told apart."""
    if isinstance(part, Choice):
        return [parts for each in part.parts for parts in _alternatives(name, each, at_end)]
    if isinstance(part, Repeat) and (part.least, part.most) == (0, 1):
        return [*_alternatives(name, part.part, at_end), ()]
    if not isinstance(part, Sequence):
        return [(part,)]
    if not part.parts:
        return [()]
    edge, rest = (part.parts[-1], part.parts[:-1]) if at_end else (part.parts[0], part.parts[1:])
    if isinstance(edge, Reference) or name not in references(edge):
        return [part.parts]
    edges = _alternatives(name, edge, at_end)
    return [rest + each for each in edges] if at_end else [each + rest for each in edges]


def _choice(alternatives: list[tuple[Part, ...]]) -> Part:
    parts = tuple(each[0] if len(each) == 1 else Sequence(each) for each in alternatives)
    return parts[0] if len(parts) == 1 else Choice(parts) if parts else NOTHING
