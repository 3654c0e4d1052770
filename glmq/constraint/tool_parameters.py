"""The parameters of a tool, as its JSON schema names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glmq_kernels.errors import GlmqError

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
MAX_REFERENCES = 64

OF_ALL_PARAMETERS = (
    "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies",
    "minProperties", "maxProperties", "patternProperties", "propertyNames",
)  # fmt: skip
"""Keywords about all parameters together, which calls are not held to."""


@dataclass(frozen=True)
class Parameters:
    """root: the schema of all arguments. properties: each parameter's schema. required: names of some.

    faults: what of the schema says nothing about single parameters or cannot be understood.
    """

    root: Mapping[str, Any]
    properties: Mapping[str, Any]
    required: frozenset[str]
    faults: tuple[str, ...]


def parameters_of(schema: Any) -> Parameters:
    """The parameters of a tool; those that only some of its alternatives have are optional."""
    if not schema or not isinstance(schema, Mapping):
        no_schema = ("its parameters are no JSON schema, and none can be given",)
        return Parameters({}, {}, frozenset(), no_schema if schema else ())
    faults: list[str] = []
    try:
        properties, required = _merged(schema, schema, faults)
    except GlmqError as error:
        return Parameters(schema, {}, frozenset(), (f"no parameters can be given, for {error}",))
    except RecursionError:
        return Parameters(
            schema, {}, frozenset(), ("no parameters can be given, for its schema refers to itself",)
        )
    for name in required:
        properties.setdefault(name, {})
    return Parameters(schema, properties, frozenset(required), tuple(dict.fromkeys(faults)))


def _merged(schema: Any, root: Mapping[str, Any], faults: list[str]) -> tuple[dict[str, Any], set[str]]:
    """(properties, required ones) of a schema and of the schemas that it combines."""
    schema = _dereferenced(schema, root)
    faults += [f"{each} is not held" for each in OF_ALL_PARAMETERS if each in schema]
    own, names = schema.get("properties", {}), schema.get("required", [])
    properties: dict[str, Any] = {}
    if isinstance(own, Mapping):
        properties.update(own)
    else:
        faults.append("its properties are no object, and are left out")
    if (
        isinstance(names, Sequence)
        and not isinstance(names, str)
        and all(isinstance(each, str) for each in names)
    ):
        required = set(names)
    else:
        required = set()
        faults.append("required is no list of names, and is not held")
    for part in _list(schema.get("allOf")):
        more, needed = _merged(part, root, faults)
        for name, each in more.items():
            properties[name] = {"allOf": [properties[name], each]} if name in properties else each
        required |= needed
    for keyword in ("anyOf", "oneOf"):
        options = [_merged(part, root, faults) for part in _list(schema.get(keyword))]
        if options:
            faults.append(f"{keyword} of its parameters together is not held, only each parameter for itself")
            required |= set.intersection(*(needed for _, needed in options))
        for name in dict.fromkeys(name for more, _ in options for name in more):
            if name not in properties:
                given = [more[name] for more, _ in options if name in more]
                properties[name] = given[0] if len(given) == 1 else {"anyOf": given}
    return properties, required


def resolved(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without `$ref` to another part of the root, and without an `allOf` of a single one."""
    found = _dereferenced(schema, root)
    parts = found.get("allOf")
    if isinstance(parts, Sequence) and len(parts) == 1:
        del found["allOf"]
        return resolved({**found, **resolved(parts[0], root)}, root)
    return found


def _dereferenced(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(schema) if isinstance(schema, Mapping) else {}
    for _ in range(MAX_REFERENCES):
        reference = found.pop("$ref", None)
        if reference is None:
            return found
        found = {**_target(str(reference), root), **found}
    raise GlmqError("its schema refers to itself")


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference such as `#/$defs/name` names."""
    target: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        target = target.get(part) if isinstance(target, Mapping) else None
    if not isinstance(target, Mapping) or not reference.startswith("#/"):
        raise GlmqError(f"it refers to {reference}, which its schema does not have")
    return target


def types_of(schema: Mapping[str, Any]) -> Sequence[str]:
    """The types that a schema allows; all of them when it says nothing. Raises GlmqError."""
    named = schema.get("type")
    if named is None and "properties" in schema:
        return ("object",)
    if named is None and "items" in schema:
        return ("array",)
    if named is None:
        return TYPES
    found = [named] if isinstance(named, str) else _list(named)
    if not found or not all(isinstance(each, str) for each in found):
        raise GlmqError(f"type is {named!r}, which is no name of a type")
    return found


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else []
