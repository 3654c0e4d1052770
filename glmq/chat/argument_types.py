"""Types of tool call arguments, from the JSON schemas of the tools.

GLM writes a string as it is and anything else as JSON (the loop over `_args` in its chat templates), so
only the schema tells the text 123 from the number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote

_TYPE_OF_CLASS = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_OTHER_NAMES = {
    "str": "string",
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "list": "array",
    "dict": "object",
    "none": "null",
}
"""Names that definitions written by hand use for JSON schema's types."""

_PYTHON_LITERALS = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class ArgumentType:
    """What an argument may be.

    types: names of JSON schema types, with "integer" wherever "number" is; None for any. strings: those
    that an enum or const names.
    """

    types: frozenset[str] | None = None
    strings: frozenset[str] = frozenset()

    @property
    def is_string(self) -> bool:
        """Whether every text is the value itself."""
        return self.types == frozenset({"string"})

    def value(self, text: str) -> Any:
        """The value that a text stands for; the text itself when it is none of the types.

        Where strings and other types are allowed, a text that reads as one of the other types is that,
        unless the schema names the text. Where anything is allowed, it is JSON if it parses. A null is a
        null wherever it cannot be a string.
        """
        if self.is_string or text in self.strings:
            return text
        try:
            value = _parse_json(text)
        except (ValueError, RecursionError):
            value = text
        if self.types is None:
            return value
        if "string" not in self.types:
            value = self._repaired(value)
        elif isinstance(value, str):
            return text
        if isinstance(value, float) and value.is_integer() and "number" not in self.types:
            value = int(value)
        if value is None and "string" not in self.types:
            return None
        return value if _TYPE_OF_CLASS[type(value)] in self.types else text

    def _repaired(self, value: Any) -> Any:
        """For values that cannot be strings: Python's spelling, and JSON put into a JSON string."""
        if not isinstance(value, str):
            return value
        value = value.strip()
        if value in _PYTHON_LITERALS:
            return _PYTHON_LITERALS[value]
        try:
            return _parse_json(value)
        except (ValueError, RecursionError):
            return value

    def __or__(self, other: ArgumentType) -> ArgumentType:
        types = None if self.types is None or other.types is None else self.types | other.types
        return ArgumentType(types, self.strings | other.strings)

    def __and__(self, other: ArgumentType) -> ArgumentType:
        if self.types is None or other.types is None:
            types = other.types if self.types is None else self.types
        else:
            types = self.types & other.types
        return ArgumentType(types, self.strings | other.strings)


class ArgumentTypes:
    """The types of all arguments of some tools.

    tools: OpenAI's definitions, `{"type": "function", "function": {...}}` or the function objects alone.
    """

    def __init__(self, tools: Iterable[Mapping[str, Any]]) -> None:
        functions = [tool.get("function", tool) for tool in tools]
        self._schemas = {function.get("name"): function.get("parameters") for function in functions}

    def declared(self, tool: str) -> frozenset[str]:
        """The names of all arguments that a tool's schema describes by name."""
        root = self._schemas.get(tool)
        return frozenset(_declared(root, root, frozenset()))

    def of(self, tool: str, argument: str) -> ArgumentType:
        """The type of one argument; anything for tools and arguments that no schema describes."""
        root = self._schemas.get(tool)
        schema = _argument_schema(root, argument, root, frozenset())
        found = _type_of(schema, root, frozenset())
        return found if found.types != frozenset() else ArgumentType()


def _argument_schema(
    schema: object, argument: str, root: object, seen: frozenset[str]
) -> dict[str, Any] | None:
    """The schema of one property of an object's schema, None when it says nothing about it."""
    if not isinstance(schema, dict):
        return None
    described: list[Any] = []
    properties = schema.get("properties")
    if isinstance(properties, dict) and argument in properties:
        described.append(properties[argument])
    target, seen_with = _referred(schema, root, seen)
    for part in (target, *_schemas(schema, "allOf")):
        found = _argument_schema(part, argument, root, seen_with)
        described += [found] if found else []
    for keyword in ("anyOf", "oneOf"):
        parts = [_argument_schema(part, argument, root, seen) for part in _schemas(schema, keyword)]
        described += [{"anyOf": [part for part in parts if part]}] if any(parts) else []
    branches = [_argument_schema(schema.get(keyword), argument, root, seen) for keyword in ("then", "else")]
    described += [{"anyOf": [part for part in branches if part]}] if any(branches) else []
    if not described:
        patterns = schema.get("patternProperties")
        patterns = patterns if isinstance(patterns, dict) else {}
        described += [part for pattern, part in patterns.items() if _matches(pattern, argument)]
    if not described and isinstance(schema.get("additionalProperties"), dict):
        described.append(schema["additionalProperties"])
    return {"allOf": described} if described else None


def _declared(schema: object, root: object, seen: frozenset[str]) -> set[str]:
    """The names of the properties in an object's schema and in the schemas that it is combined of."""
    if not isinstance(schema, dict):
        return set()
    properties = schema.get("properties")
    names = set(properties) if isinstance(properties, dict) else set()
    target, seen_with = _referred(schema, root, seen)
    names |= _declared(target, root, seen_with)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in _schemas(schema, keyword):
            names |= _declared(part, root, seen)
    for keyword in ("if", "then", "else"):
        names |= _declared(schema.get(keyword), root, seen)
    return names


def _type_of(schema: object, root: object, seen: frozenset[str]) -> ArgumentType:
    """What values a schema allows, as far as type, enum, const, nullable and combinations of them tell."""
    if not isinstance(schema, dict):
        return ArgumentType()
    allowed = ArgumentType(_named_types(schema.get("type")))
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        types = _with_integers(_TYPE_OF_CLASS[type(value)] for value in values)
        allowed &= ArgumentType(types, frozenset(value for value in values if isinstance(value, str)))
    target, seen_with = _referred(schema, root, seen)
    if target is not None:
        allowed &= _type_of(target, root, seen_with)
    for part in _schemas(schema, "allOf"):
        allowed &= _type_of(part, root, seen)
    for keyword in ("anyOf", "oneOf"):
        parts = [_type_of(part, root, seen) for part in _schemas(schema, keyword)]
        if parts:
            either = parts[0]
            for part in parts[1:]:
                either |= part
            allowed &= either
    if schema.get("nullable") is True:
        allowed |= ArgumentType(frozenset({"null"}))
    return allowed


def _named_types(named: object) -> frozenset[str] | None:
    """The types that the keyword `type` allows; None for any, or when it names something unknown."""
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list):
        return None
    lower = [str(name).lower() for name in names]
    types = _with_integers(_OTHER_NAMES.get(name, name) for name in lower)
    return types if types.issubset(_TYPE_OF_CLASS.values()) else None


def _with_integers(types: Iterable[str]) -> frozenset[str]:
    """The types, with "integer" where "number" is: every integer is a number."""
    found = frozenset(types)
    return found | {"integer"} if "number" in found else found


def _schemas(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    parts = schema.get(keyword)
    return parts if isinstance(parts, list) else []


def _referred(schema: Mapping[str, Any], root: object, seen: frozenset[str]) -> tuple[Any, frozenset[str]]:
    """The schema that `$ref` points to inside the root schema (RFC 6901), None without one.

    seen: references followed so far, which end where one comes again.
    """
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#") or reference in seen:
        return None, seen
    target: Any = root
    for part in unquote(reference[1:]).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        elif isinstance(target, dict) and name in target:
            target = target[name]
        else:
            return None, seen
    return target, seen | {reference}


def _matches(pattern: str, argument: str) -> bool:
    try:
        return re.search(pattern, argument) is not None
    except re.error:
        return False


def _parse_json(text: str) -> Any:
    """JSON as RFC 8259 has it: without NaN and infinite numbers. Raises ValueError, RecursionError."""
    value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    json.dumps([[[value]]])  # what can only just be read cannot be written with more around it
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no double")
    return number
