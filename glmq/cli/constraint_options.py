"""The options that hold an output to a JSON schema, a grammar or a regular expression."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from glmq_kernels.errors import GlmqError

from .text_input import read_text

if TYPE_CHECKING:
    from ..constraint import Constraint

Command = TypeVar("Command", bound=Callable[..., Any])


def constraint_options(command: Command) -> Command:
    """Options that `constraint_of` turns into a `Constraint`."""
    options = (
        click.option("--json-schema", metavar="FILE",
                     help="Answer with JSON of this schema; it may also stand here itself."),
        click.option("--grammar", metavar="FILE", help="Answer with text of this grammar, in Lark or GBNF."),
        click.option("--regex", metavar="TEXT", help="Answer with text that this regular expression fits."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def constraint_of(json_schema: str | None, grammar: str | None, regex: str | None) -> Constraint | None:
    """The constraint that the options ask for. Raises GlmqError for more than one, or one that is refused."""
    if sum(each is not None for each in (json_schema, grammar, regex)) > 1:
        raise GlmqError("constrain the output in one way: --json-schema, --grammar or --regex")
    if json_schema is not None:
        from ..constraint import json_schema_constraint

        if json_schema.lstrip().startswith("{"):
            return json_schema_constraint(json_schema)
        return _of_file(json_schema_constraint, json_schema)
    if grammar is not None:
        from ..constraint import grammar_constraint

        return _of_file(grammar_constraint, grammar)
    if regex is not None:
        from ..constraint import regex_constraint

        return regex_constraint(regex)
    return None


def _of_file(make: Callable[[str], Constraint], name: str) -> Constraint:
    text = read_text(name)
    try:
        return make(text)
    except GlmqError as error:
        raise GlmqError(f"{name}: {error}") from None
