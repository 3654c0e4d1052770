"""What texts of arguments stand for where several readings are possible and the whole call tells which."""

from __future__ import annotations

import pytest

from glmq.chat.offered_tools import OfferedTools

TEXT, COUNT = (
    {"properties": {"kind": {"const": kind}, "value": {"type": value}}, "required": ["kind", "value"]}
    for kind, value in (("text", "string"), ("count", "integer"))
)
EITHER = {
    "oneOf": {"type": "object", "oneOf": [TEXT, COUNT]},
    "anyOf": {"type": "object", "anyOf": [TEXT, COUNT]},
    "the other order": {"oneOf": [COUNT, TEXT]},
    "allOf": {"allOf": [{"oneOf": [TEXT, COUNT]}]},
    "references": {"$defs": {"t": TEXT, "c": COUNT}, "oneOf": [{"$ref": "#/$defs/t"}, {"$ref": "#/$defs/c"}]},
    "a reference": {"$defs": {"either": {"oneOf": [TEXT, COUNT]}}, "$ref": "#/$defs/either"},
    "if, then, else": {
        "properties": {"kind": {"enum": ["text", "count"]}},
        "if": {"properties": {"kind": {"const": "text"}}},
        "then": {"properties": {"value": {"type": "string"}}},
        "else": {"properties": {"value": {"type": "integer"}}},
    },
    "if in allOf": {
        "properties": {"kind": {"enum": ["text", "count"]}, "value": {"type": ["string", "integer"]}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}},
                "then": {"properties": {"value": {"type": value}}},
            }
            for kind, value in (("text", "string"), ("count", "integer"))
        ],
    },
}


def tools(parameters):
    return OfferedTools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])


@pytest.mark.parametrize("schema", EITHER.values(), ids=EITHER)
def test_another_argument_tells_the_type(schema):
    offered = tools(schema)
    for order in (("kind", "value"), ("value", "kind")):
        for kind, value in (("text", "7"), ("count", 7), ("text", "a"), ("text", "null"), ("text", "[1]")):
            texts = {"kind": kind, "value": str(value)}
            expected = {"kind": kind, "value": value}
            found = offered.arguments("f", {name: texts[name] for name in order})
            assert repr(sorted(found.items())) == repr(sorted(expected.items()))
    assert offered.parameters("f") == {"kind", "value"}


def test_what_nothing_allows_is_read_as_usual():
    offered = tools(EITHER["oneOf"])
    assert offered.arguments("f", {"kind": "other", "value": "7"}) == {"kind": "other", "value": 7}
    assert offered.arguments("f", {"kind": "count", "value": "x"}) == {"kind": "count", "value": "x"}


SINGLE = {
    "a number that is too large": (
        {"anyOf": [{"type": "string"}, {"type": "integer", "maximum": 10}]},
        {"7": 7, "2024": "2024"},
    ),
    "a text with a pattern": (
        {"anyOf": [{"type": "string", "pattern": "^[0-9]{4}$"}, {"type": "array"}, {"type": "integer"}]},
        {"2024": 2024, "[1]": [1]},
    ),
    "a listed number and texts": ({"type": ["integer", "string"], "enum": [1, "2"]}, {"1": 1, "2": "2"}),
    "null for a number": ({"type": "integer"}, {"null": None, "None": None, "7": 7}),
    "null for a boolean": ({"type": "boolean"}, {"null": None}),
    "null for an object": ({"type": "object"}, {"null": None}),
    "null for a listed number": ({"enum": [1, 2]}, {"null": None}),
    "null for a string": ({"type": "string"}, {"null": "null"}),
    "null for a listed text": ({"enum": ["a", "b"]}, {"null": "null"}),
}


@pytest.mark.parametrize(("schema", "values"), SINGLE.values(), ids=SINGLE)
def test_the_schema_of_an_argument_tells_which_reading_counts(schema, values):
    offered = tools({"type": "object", "properties": {"k": schema}, "required": ["k", "other"]})
    assert repr({text: offered.value("f", "k", text) for text in values}) == repr(values)


@pytest.mark.parametrize("parameters", (None, [], {"oneOf": "x"}, {"$ref": "#/nowhere"}, {"if": 7}))
def test_schemas_that_cannot_be_followed_change_nothing(parameters):
    assert tools(parameters).arguments("f", {"k": "7"}) == {"k": 7}


def test_names_and_problems():
    offered = OfferedTools([{"name": "f"}, {"type": "web_search"}, {"function": {"name": "longer"}}])
    assert offered.names == ["longer", "f"]
    assert offered.problem("f") is None
    assert offered.problem("g") == "there is no tool g; there is f, longer"
    assert offered.problem("") == "the call has no name"
