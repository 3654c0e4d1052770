"""Which rules are regular: without recursion and tokens, so that a regular expression says the same."""

from __future__ import annotations

from dataclasses import dataclass

from .checks import rules_that_hold
from .grammar import Characters, Choice, Grammar, Part, Reference, Repeat, Sequence, Token, children

MAX_DEPTH = 40
"""Nesting of an expression; llguidance's parser of regular expressions allows some more."""

MAX_SIZE = 100_000


@dataclass(frozen=True)
class Expression:
    """A regular expression in Rust's syntax, and how deep its groups are nested."""

    text: str
    depth: int


def regular_rules(rules: Grammar) -> dict[str, Expression]:
    """The expressions of all regular rules that are not too large."""
    found: dict[str, Expression] = {}

    def holds(name: str, _: set[str]) -> bool:
        expression = expression_of(rules[name], found)
        if expression is not None:
            found[name] = expression
        return expression is not None

    rules_that_hold(rules, holds)
    return found


def expression_of(part: Part, known: dict[str, Expression]) -> Expression | None:
    """The expression of a part, given those of the rules; None for a part that has none."""
    if isinstance(part, Characters):
        return Expression(part.characters.regex, 0)
    if isinstance(part, Reference):
        return known.get(part.name)
    if isinstance(part, Token):
        return None
    inner = []
    for each in children(part):
        if (expression := expression_of(each, known)) is None:
            return None
        inner.append(expression)
    depth = max((each.depth for each in inner), default=0) + 1
    if isinstance(part, Sequence):
        text = "".join(each.text for each in inner)
    elif isinstance(part, Choice):
        text = f"(?:{'|'.join(each.text for each in inner)})"
    elif isinstance(part, Repeat):
        text = f"(?:{inner[0].text}){{{part.least},{'' if part.most is None else part.most}}}"
    return Expression(text, depth) if depth <= MAX_DEPTH and len(text) <= MAX_SIZE else None


def nullable_rules(rules: Grammar) -> set[str]:
    """The rules that fit an empty text."""
    return rules_that_hold(rules, lambda name, found: is_nullable(rules[name], found))


def is_nullable(part: Part, rules: set[str]) -> bool:
    """Whether a part fits an empty text when these rules do."""
    if isinstance(part, Reference):
        return part.name in rules
    if isinstance(part, Choice):
        return any(is_nullable(each, rules) for each in part.parts)
    if isinstance(part, Repeat):
        return part.least == 0 or is_nullable(part.part, rules)
    return isinstance(part, Sequence) and all(is_nullable(each, rules) for each in part.parts)


def without_empty(part: Part, rules: Grammar, nullable: set[str]) -> Part | None:
    """A regular part without its empty text; None when it has no other."""
    if not is_nullable(part, nullable):
        return part
    if isinstance(part, Reference):
        return without_empty(rules[part.name], rules, nullable)
    if isinstance(part, Repeat):
        inner = without_empty(part.part, rules, nullable)
        return None if inner is None else Repeat(inner, 1, part.most)
    options: list[Part | None] = []
    if isinstance(part, Choice):
        options = [without_empty(each, rules, nullable) for each in part.parts]
    elif isinstance(part, Sequence):
        for i, each in enumerate(part.parts):
            first = without_empty(each, rules, nullable)
            options.append(first and Sequence((first, *part.parts[i + 1 :])))
    found = tuple(each for each in options if each is not None)
    return Choice(found) if found else None
