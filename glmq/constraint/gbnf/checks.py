"""Checks of a whole grammar: which rules it needs, and that each of them can come to an end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from glmq_kernels.errors import GlmqError

from .grammar import Choice, Grammar, Part, Reference, Repeat, children


def checked(rules: Mapping[str, Part], place: Callable[[str], str]) -> Grammar:
    """The rules that `root` needs. Raises GlmqError for one that never ends. place: where a rule is."""
    needed = {"root": rules["root"]}
    waiting = ["root"]
    while waiting:
        for name in references(needed[waiting.pop()]):
            if name not in needed:
                needed[name] = rules[name]
                waiting.append(name)
    ending = rules_that_hold(needed, lambda name, found: _ends(needed[name], found))
    if "root" not in ending:
        seen: list[str] = []
        name = "root"
        while name not in seen:
            seen.append(name)
            name = next(each for each in references(needed[name]) if each not in ending)
        _refuse(name, place)
    for name in needed:
        if name not in ending:
            _refuse(name, place)
    return needed


def _refuse(name: str, place: Callable[[str], str]) -> NoReturn:
    raise GlmqError(
        f"the GBNF grammar is refused, {place(name)}: the rule {name} never ends;"
        " give it an alternative that needs neither itself nor another such rule"
    )


def references(part: Part) -> list[str]:
    """The rules that a part names."""
    found, waiting = [], [part]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Reference):
            found.append(each.name)
        waiting.extend(children(each))
    return found


def rules_that_hold(rules: Grammar, holds: Callable[[str, set[str]], bool]) -> set[str]:
    """The names of rules of which `holds` says so, given those of which it is known already."""
    users: dict[str, list[str]] = {}
    for name, part in rules.items():
        for used in references(part):
            users.setdefault(used, []).append(name)
    found: set[str] = set()
    waiting = list(rules)
    while waiting:
        name = waiting.pop()
        if name not in found and holds(name, found):
            found.add(name)
            waiting.extend(users.get(name, ()))
    return found


def _ends(part: Part, ending: set[str]) -> bool:
    """Whether a part has an end when these rules have."""
    if isinstance(part, Reference):
        return part.name in ending
    if isinstance(part, Repeat) and part.least == 0:
        return True
    return (any if isinstance(part, Choice) else all)(_ends(each, ending) for each in children(part))
