"""Arguments of calls, held against the JSON schemas of their tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..optional_packages import optional_packages

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MOST_PROBLEMS = 5
MOST_CHARACTERS = 300
VALUES = ("const", "default", "enum", "example", "examples")
"""Keywords of schemas that hold values, not schemas."""


def schema_problem(schema: dict[str, Any]) -> str | None:
    """What keeps a value from being a JSON schema, or None.

    Patterns may be of any language, and references to other schemas may lead anywhere.
    """
    with optional_packages():
        from jsonschema import FormatChecker
        from jsonschema.exceptions import SchemaError

    kind = _validator_class(schema)
    try:
        kind.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        return f"{_place(error.absolute_path) or 'the schema'}: {_short(error.message)}"
    except RecursionError:
        return "the schema is nested too deeply"
    for key, value, place in _keywords(schema, ()):
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            problem = _reference_problem(value, schema)
            if problem is not None:
                return f"{_place(place)}: {problem}"
    return None


def unchecked_reason(schema: dict[str, Any]) -> str | None:
    """Why arguments cannot be checked with a schema, in one line, or None.

    Beside what is no JSON schema these are patterns that are none of Python's, and references to what the
    schema does not hold: nothing is fetched over the network.
    """
    if (problem := schema_problem(schema)) is not None:
        return problem
    for key, value, place in _keywords(schema, ()):
        problem = None
        if key == "pattern" and isinstance(value, str):
            problem = _pattern_problem(value)
        elif key == "patternProperties" and isinstance(value, dict):
            problem = next(filter(None, map(_pattern_problem, value)), None)
        elif key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
            problem = _reference_problem(value, schema)
        if problem is not None:
            return f"{_place(place)}: {problem}"
    try:
        list(_validator(schema).iter_errors({}))
    except RecursionError:
        return "the schema refers to itself without end"
    return None


def _pattern_problem(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"Python cannot read the pattern {_short(pattern)}: {error}"
    return None


def _reference_problem(reference: str, schema: dict[str, Any]) -> str | None:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, specification_with

    resource = specification_with(str(schema.get("$schema")), default=DRAFT202012).create_resource(schema)
    name = resource.id() or ""
    try:
        Registry().with_resource(name, resource).resolver(name).lookup(reference)
    except Unresolvable:
        return f"{_short(reference)} is not in the schema"
    return None


def arguments_problem(arguments: Any, schema: dict[str, Any]) -> str | None:
    """What is wrong with arguments, in one line, or None.

    Where the schema cannot be used (`unchecked_reason`) any object will do.
    """
    if not isinstance(arguments, dict):
        return "the arguments are not an object"
    if unchecked_reason(schema) is not None:
        return None
    try:
        errors = list(_validator(schema).iter_errors(arguments))
    except RecursionError:  # a reference to itself, which only these arguments lead to
        return None
    places = ((_place(error.absolute_path), _short(error.message)) for error in errors[:MOST_PROBLEMS])
    return "; ".join(f"{place}: {message}" if place else message for place, message in places) or None


def _validator_class(schema: dict[str, Any]) -> type[Validator]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    kind: type[Validator] = validator_for(schema, default=Draft202012Validator)
    return kind


def _validator(schema: dict[str, Any]) -> Any:
    from referencing import Registry

    return _validator_class(schema)(schema, registry=Registry())


def _keywords(schema: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str, Any, tuple[str | int, ...]]]:
    """All keys inside a schema with their values and places; some are names of properties."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield key, value, (*place, key)
            if key in VALUES:
                continue
            yield from _keywords(value, (*place, key))
    elif isinstance(schema, list):
        for i, value in enumerate(schema):
            yield from _keywords(value, (*place, i))


def _place(path: Iterable[str | int]) -> str:
    """A path into a value, such as `cities[0].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _short(message: str) -> str:
    return message if len(message) <= MOST_CHARACTERS else message[:MOST_CHARACTERS] + "…"
