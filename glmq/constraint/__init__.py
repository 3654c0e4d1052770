"""Output held to a JSON schema, a grammar or a regular expression, with the `llguidance` library."""

from .constraint import Constraint, grammar_constraint, json_schema_constraint, regex_constraint
from .tool_calls import tool_call_constraint

__all__ = [
    "Constraint",
    "grammar_constraint",
    "json_schema_constraint",
    "regex_constraint",
    "tool_call_constraint",
]
