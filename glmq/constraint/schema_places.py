"""Where in a JSON schema something is that llguidance refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .error_messages import one_line

OF_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords with an object of schemas."""

OF_LISTS = ("prefixItems", "anyOf", "oneOf", "allOf")
OF_ONE = ("items", "additionalProperties", "additionalItems", "contains", "propertyNames", "not", "if")
MAX_CHECKS = 500


def place_of_fault(schema: Mapping[str, Any], message: str) -> str:
    """`, at /properties/name` for the innermost schema that is refused with this message by itself.

    Nothing for the whole schema.
    """
    shared = {key: schema[key] for key in ("$defs", "definitions", "x-guidance") if key in schema}
    path, checks = "", 0
    found: Mapping[str, Any] = schema
    while True:
        for step, inner in _within(found):
            checks += 1
            if checks > MAX_CHECKS:
                return f", at {path}" if path else ""
            alone = {**(shared if "/$defs" not in step else {}), **inner}
            if _refusal(alone) == one_line(message):
                found, path = inner, path + step
                break
        else:
            return f", at {path}" if path else ""


def _within(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schemas directly within one, each with its path from there."""
    for keyword in OF_NAMES:
        inner = schema.get(keyword)
        if isinstance(inner, Mapping):
            yield from (
                (f"/{keyword}/{name}", each) for name, each in inner.items() if isinstance(each, Mapping)
            )
    for keyword in (*OF_LISTS, "items"):
        inner = schema.get(keyword)
        if isinstance(inner, Sequence) and not isinstance(inner, str):
            yield from (
                (f"/{keyword}/{i}", each) for i, each in enumerate(inner) if isinstance(each, Mapping)
            )
    for keyword in OF_ONE:
        if isinstance(schema.get(keyword), Mapping):
            yield f"/{keyword}", schema[keyword]


def _refusal(schema: Mapping[str, Any]) -> str | None:
    try:
        text = json.dumps({"grammars": [{"json_schema": schema}]})
    except (TypeError, ValueError, RecursionError):
        return None
    from .grammar_compilation import check_grammar

    message = check_grammar(text, "the JSON schema")
    return None if message is None else one_line(message)
