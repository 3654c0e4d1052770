"""Constraints: what a whole output must be, for any number of generations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from glmq_kernels.errors import GlmqError

from ..optional_packages import optional_packages
from .error_messages import one_line, with_column, with_place
from .kept_results import N_KEPT
from .schema_places import place_of_fault

if TYPE_CHECKING:
    from ..guide import Guide
    from ..tokenizer import Tokenizer

WHITE_SPACE = r"\x20|\x0D?\x0A[\x20\x09]{0,40}"
"""What may stand between the parts of JSON: a space, or a line break and what indents the next line.

Small models fill all the room that they get. A schema's own "x-guidance" comes first.
"""

BYTE_ORDER_MARK = "\ufeff"

OPTIONS = '%llguidance {"no_forcing": true}'
"""For every grammar: `GrammarGuide` looks for forced text itself."""


@dataclass(frozen=True)
class Constraint:
    """What an output must be. grammar: in llguidance's form. what: its name in messages.

    tokens: what stands for a token in the grammar, the token's id or text, where the user wrote it.
    notes: what of the request does not hold, a line each.
    """

    grammar: str
    what: str
    tokens: tuple[tuple[str, int | str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def guide(self, tokenizer: Tokenizer) -> Guide:
        """A guide for one generation. Raises GlmqError when the grammar names tokens that there are not."""
        with optional_packages():
            from .grammar_guide import GrammarGuide

        grammar = self.grammar
        for placeholder, name, place in self.tokens:
            token = tokenizer.token_id(name) if isinstance(name, str) else name
            if token is None or token >= tokenizer.n_vocab:
                raise GlmqError(f"{self.what} is refused, {place}: the model has no token {name}")
            grammar = grammar.replace(placeholder, str(token))
        return GrammarGuide(grammar, self.what, tokenizer)

    def named_grammars(self, name: str) -> list[dict[str, Any]]:
        """Its grammars for one that refers to it as `@name`, in llguidance's list of grammars."""
        if self.grammar.startswith("{"):
            first, *others = json.loads(self.grammar)["grammars"]
            return [{**first, "name": name}, *others]
        return [{"name": name, "lark_grammar": self.grammar}]


def json_schema_constraint(schema: str | Mapping[str, Any]) -> Constraint:
    """JSON that fits a schema, given as an object or as its text.

    What llguidance knows of JSON schema and its options under "x-guidance":
    https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md. Raises GlmqError.
    """
    if isinstance(schema, str):
        _check_characters(schema, "the JSON schema")
        try:
            schema = json.loads(schema.removeprefix(BYTE_ORDER_MARK))
        except ValueError as error:
            raise GlmqError(f"the JSON schema is refused: it is not JSON: {error}") from None
        except RecursionError:
            raise GlmqError("the JSON schema is refused: it is nested too deeply") from None
    if not isinstance(schema, Mapping):
        raise GlmqError("the JSON schema is refused: it must be an object, such as {}")
    try:
        json_schema = _plain_schema(schema)
    except (TypeError, ValueError) as error:
        raise GlmqError(f"the JSON schema is refused: {error}") from None
    except RecursionError:
        raise GlmqError("the JSON schema is refused: it is nested too deeply") from None
    options = json_schema.get("x-guidance", {})
    if isinstance(options, dict):
        json_schema["x-guidance"] = {"whitespace_pattern": WHITE_SPACE, **options}
    grammars = [
        {"lark_grammar": f"start: @schema\n{OPTIONS}\n"},
        {"name": "schema", "json_schema": json_schema},
    ]
    constraint = Constraint(json.dumps({"grammars": grammars}), "the JSON schema")
    if (message := _refusal(constraint.grammar, constraint.what)) is not None:
        raise GlmqError(f"the JSON schema is refused{place_of_fault(schema, message)}: {one_line(message)}")
    return constraint


def _plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of plain JSON values. llguidance gets it as text, since a Ctrl-C while it walks through Python's
    objects would come out as an error of the schema.

    Raises ValueError, TypeError or RecursionError for what is no JSON, or a number of more than 64 bits.
    """

    def refuse(value: object) -> NoReturn:
        raise TypeError(f"{str(value)[:40]} is no JSON value, or a number of more than 64 bits")

    def integer(digits: str) -> int:
        value = int(digits)
        return value if -(2**63) <= value < 2**64 else refuse(digits)

    text = json.dumps(dict(schema), default=refuse)
    plain: dict[str, Any] = json.loads(text, parse_int=integer, parse_constant=refuse)
    return plain


def grammar_constraint(text: str) -> Constraint:
    """Text of a grammar in Lark's syntax with llguidance's additions, or in GBNF, llama.cpp's.

    https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md,
    https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md. Raises GlmqError.
    """
    _check_characters(text, "the grammar")
    text = text.removeprefix(BYTE_ORDER_MARK)
    if re.search(r"(?:^|\r)\s*[\w-]+\s*::=", text, re.MULTILINE):
        return gbnf_constraint(text)
    if not text.strip():
        raise GlmqError("the grammar is refused: it is empty")
    constraint = Constraint(f"{text}\n{OPTIONS}\n", "the grammar")
    if (message := _refusal(constraint.grammar, constraint.what)) is not None:
        raise GlmqError(f"the grammar is refused{with_place(message)}")
    return constraint


@lru_cache(N_KEPT)
def gbnf_constraint(text: str) -> Constraint:
    """Text of a grammar in GBNF, with the same meaning as in llama.cpp. Raises GlmqError."""
    from .gbnf import Token, lark_of, read_gbnf

    tokens: list[tuple[str, int | str, str]] = []

    def token_in_lark(token: Token) -> str:
        placeholder = f"@{len(tokens)}@"
        tokens.append((placeholder, token.name, token.place))
        return f"<[{'^' if token.negated else ''}{placeholder}]>"

    grammar = f"{lark_of(read_gbnf(text), token_in_lark)}\n{OPTIONS}\n"
    constraint = Constraint(grammar, "the GBNF grammar", tuple(tokens))
    if not tokens and (message := _refusal(constraint.grammar, constraint.what)) is not None:
        raise GlmqError(f"the GBNF grammar is refused: {one_line(message)}")
    return constraint


def regex_constraint(regex: str) -> Constraint:
    """Text that a regular expression matches from end to end, in Rust's syntax (https://docs.rs/regex).

    Raises GlmqError.
    """
    with optional_packages():
        from llguidance import regex_to_lark

    _check_characters(regex, "the regular expression")
    grammar = f"start: /{regex_to_lark(regex, '')}/\n{OPTIONS}\n"
    constraint = Constraint(grammar, "the regular expression")
    if (message := _refusal(constraint.grammar, constraint.what)) is not None:
        raise GlmqError(f"the regular expression is refused{with_column(message, regex)}")
    return constraint


def _check_characters(text: str, what: str) -> None:
    """Refuse a text that UTF-8 has no form for."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        column = error.start - text.rfind("\n", 0, error.start)
        raise GlmqError(
            f"{what} is refused, line {line}, column {column}: half a character, or a byte that is not UTF-8"
        ) from None


@lru_cache(N_KEPT)
def _refusal(grammar: str, what: str) -> str | None:
    from .grammar_compilation import check_grammar

    return check_grammar(grammar, what)
