"""Arguments of calls, held against the JSON schemas of their tools."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MOST_PROBLEMS = 5
MOST_CHARACTERS = 300


def schema_problem(schema: dict[str, Any]) -> str | None:
    """What keeps a value from being a JSON schema, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"{_place(error.absolute_path) or 'the schema'}: {_short(error.message)}"
    return None


def arguments_problem(arguments: Any, schema: dict[str, Any]) -> str | None:
    """What is wrong with arguments, in one line, or None.

    References in the schema are followed inside it only, never over the network.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    if not isinstance(arguments, dict):
        return "the arguments are not an object"
    if (problem := schema_problem(schema)) is not None:
        return f"its schema cannot be used: {problem}"
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        errors = list(kind(schema, registry=Registry()).iter_errors(arguments))
    except Unresolvable as error:
        return f"its schema cannot be used: {_short(str(error))}"
    places = ((_place(error.absolute_path), _short(error.message)) for error in errors[:MOST_PROBLEMS])
    return "; ".join(f"{place}: {message}" if place else message for place, message in places) or None


def _place(path: Iterable[str | int]) -> str:
    """A path into a value, such as `cities[0].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _short(message: str) -> str:
    return message if len(message) <= MOST_CHARACTERS else message[:MOST_CHARACTERS] + "…"
