"""The tools that are offered to a model: their names, their parameters, and what texts of arguments mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import islice, product
from typing import Any

from ..optional_packages import optional_packages
from .argument_types import ArgumentType, ArgumentTypes

MOST_READINGS = 64
"""Readings of a call's texts that are tried."""


class OfferedTools:
    """Tools by name.

    definitions: OpenAI's, `{"type": "function", "function": {...}}` or the function objects alone.
    """

    def __init__(self, definitions: Iterable[Mapping[str, Any]] = ()) -> None:
        definitions = list(definitions)
        self._types = ArgumentTypes(definitions)
        functions = (definition.get("function", definition) for definition in definitions)
        self._schemas: dict[str, Any] = {
            function["name"]: function.get("parameters")
            for function in functions
            if isinstance(function, Mapping) and isinstance(function.get("name"), str)
        }
        self._readers: dict[tuple[str, bool], _Reader] = {}

    @cached_property
    def names(self) -> list[str]:
        """All names, the longest first."""
        return sorted(filter(None, self._schemas), key=len, reverse=True)

    def problem(self, tool: str) -> str | None:
        """What is wrong with a call of a tool that is not offered; None for one that is."""
        names = [name for name in self._schemas if name]
        if not tool:
            return "the call has no name"
        return None if tool in names else f"there is no tool {tool}; there is {', '.join(names)}"

    def parameters(self, tool: str) -> frozenset[str]:
        """The names of the parameters that a tool declares."""
        return self._types.declared(tool)

    def type_of(self, tool: str, argument: str) -> ArgumentType:
        """What an argument may be, whatever the others are."""
        return self._types.of(tool, argument)

    def has_variants(self, tool: str) -> bool:
        """Whether the type of an argument may depend on other arguments."""
        return _has_variants(self._schemas.get(tool))

    def value(self, tool: str, argument: str, text: str) -> Any:
        """The value of an argument, whatever the others are.

        Of texts that can be read in two ways, such as "7", the reading counts that the schema allows.
        """
        allowed = self.type_of(tool, argument)
        usual = allowed.value(text)
        if isinstance(usual, str) or allowed.types is None or "string" not in allowed.types:
            return usual
        return self._reader(tool, all_required=False).read({argument: usual}, {argument: text})[argument]

    def arguments(self, tool: str, texts: Mapping[str, str]) -> dict[str, Any]:
        """The values of all arguments of a call, read so that they fit the tool's schema, if that can be."""
        usual = {name: self.type_of(tool, name).value(text) for name, text in texts.items()}
        return self._reader(tool).read(usual, texts) if self.has_variants(tool) else usual

    def _reader(self, tool: str, all_required: bool = True) -> _Reader:
        key = tool, all_required
        if key not in self._readers:
            schema = self._schemas[tool]
            self._readers[key] = _Reader(schema if all_required else {**schema, "required": []})
        return self._readers[key]


class _Reader:
    """Finds the reading of arguments that a schema allows."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        with optional_packages():
            from jsonschema import Draft202012Validator
            from jsonschema.validators import validator_for
            from referencing import Registry

        kind = validator_for(schema, default=Draft202012Validator)
        self._validator = kind(schema, registry=Registry())

    def read(self, usual: dict[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
        """The usual values where they fit or nothing does, else the first others that do."""
        readings = [_readings(usual[name], text) for name, text in texts.items()]
        for values in islice(product(*readings), MOST_READINGS):
            arguments = dict(zip(texts, values, strict=True))
            if self._fits(arguments):
                return arguments
        return usual

    def _fits(self, arguments: dict[str, Any]) -> bool:
        try:
            return bool(self._validator.is_valid(arguments))
        except Exception:  # a schema that cannot be followed fits nothing; calls are checked elsewhere
            return False


def _readings(usual: Any, text: str) -> list[Any]:
    """The values that a text may stand for: the usual one, the text, and what it is as JSON."""
    if not isinstance(usual, str):
        return [usual, text]
    try:
        return [usual, json.loads(text)]
    except (ValueError, RecursionError):
        return [usual]


def _has_variants(schema: object, depth: int = 0) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.keys() & {"anyOf", "oneOf", "if", "dependentSchemas", "dependencies", "$ref"}:
        return True
    parts = schema.get("allOf")
    return isinstance(parts, list) and depth < 8 and any(_has_variants(part, depth + 1) for part in parts)
