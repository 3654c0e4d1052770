"""Constraints: what a whole output must be, for any number of generations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import UserError

if TYPE_CHECKING:
    from ..guide import Guide
    from ..tokenizer import Tokenizer

WHITE_SPACE = r"\x20|\x0D?\x0A[\x20\x09]{0,40}"
"""What may stand between the parts of JSON: a space, or a line break and what indents the next line.

Small models fill all the room that they get. A schema's own "x-guidance" comes first.
"""


@dataclass(frozen=True)
class Constraint:
    """What an output must be. grammar: in llguidance's form. what: its name in messages."""

    grammar: str
    what: str

    def guide(self, tokenizer: Tokenizer) -> Guide:
        """A guide for one generation. Raises UserError when the grammar names tokens that there are not."""
        from .grammar_guide import GrammarGuide
        from .token_table import llguidance_tokenizer

        return GrammarGuide(self.grammar, self.what, llguidance_tokenizer(tokenizer), tokenizer.n_vocab)


def json_schema_constraint(schema: str | Mapping[str, Any]) -> Constraint:
    """JSON that fits a schema, given as an object or as its text.

    What llguidance knows of JSON schema and its options under "x-guidance":
    https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md. Raises UserError.
    """
    from llguidance import LLMatcher

    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError as error:
            raise UserError(f"the JSON schema is refused: it is not JSON: {error}") from None
    if not isinstance(schema, Mapping):
        raise UserError("the JSON schema is refused: it must be an object, such as {}")
    try:
        grammar = LLMatcher.grammar_from_json_schema(
            dict(schema), defaults={"whitespace_pattern": WHITE_SPACE}
        )
    except ValueError as error:
        raise UserError(f"the JSON schema is refused: {error}") from None
    return _checked(Constraint(grammar, "the JSON schema"))


def grammar_constraint(text: str) -> Constraint:
    """Text of a grammar in Lark's syntax with llguidance's additions, or in GBNF, llama.cpp's.

    https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md,
    https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md. Raises UserError.
    """
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import gbnf_to_lark

    if re.search(r"^\s*[\w-]+\s*::=", text, re.MULTILINE):
        try:
            text = gbnf_to_lark(text)
        except Exception as error:
            raise UserError(f"the GBNF grammar is refused: {error}") from None
    return _checked(Constraint(LLMatcher.grammar_from_lark(text), "the grammar"))


def regex_constraint(regex: str) -> Constraint:
    """Text that a regular expression matches from end to end, in Rust's syntax (https://docs.rs/regex).

    Raises UserError.
    """
    from llguidance import LLMatcher

    return _checked(Constraint(LLMatcher.grammar_from_regex(regex), "the regular expression"))


def _checked(constraint: Constraint) -> Constraint:
    """The constraint, unless llguidance refuses it whatever the vocabulary."""
    from llguidance import LLMatcher

    from .grammar_guide import one_line

    is_refused, messages = LLMatcher.validate_grammar_with_warnings(constraint.grammar)
    if is_refused:
        raise UserError(f"{constraint.what} is refused: {one_line(messages[0])}")
    return constraint
