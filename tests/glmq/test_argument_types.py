"""Which value an argument's text stands for under a JSON schema."""

from __future__ import annotations

import pytest

from glmq.chat.argument_types import ArgumentTypes

COLOUR = {"enum": ["red", "blue"]}
PART = {"type": "object", "properties": {"n": {"type": "integer"}}}

VALUES = {
    "string": ({"type": "string"}, {"1": "1", "null": "null", '"a"': '"a"', " a ": " a ", "": ""}),
    "integer": (
        {"type": "integer"},
        {"1": 1, "-0": 0, "2.0": 2, "2.5": "2.5", "1e3": 1000, "x": "x", "": ""},
    ),
    "number": ({"type": "number"}, {"1": 1, "1.5": 1.5, "2.0": 2.0, "true": "true", '"7"': 7, "1,5": "1,5"}),
    "numbers JSON does not have": (
        {"type": "number"},
        {"NaN": "NaN", "Infinity": "Infinity", "1e999": "1e999"},
    ),
    "boolean": ({"type": "boolean"}, {"true": True, "False": False, "1": "1", "no": "no"}),
    "null": ({"type": "null"}, {"null": None, "None": None, "nil": "nil"}),
    "array": ({"type": "array"}, {"[1, [2]]": [1, [2]], '"[1]"': [1], "{}": "{}", "1, 2": "1, 2"}),
    "object": ({"type": "object"}, {'{"a": null}': {"a": None}, '"{}"': {}, "[]": "[]"}),
    "string or null": ({"type": ["string", "null"]}, {"null": None, "None": "None", "1": "1", '"a"': '"a"'}),
    "string or number": ({"type": ["string", "number"]}, {"1": 1, "1a": "1a", "[1]": "[1]"}),
    "integer or null": ({"type": ["integer", "null"]}, {"1": 1, "null": None, "None": None}),
    "nullable": ({"type": "integer", "nullable": True}, {"1": 1, "null": None}),
    "nullable string": ({"type": "string", "nullable": True}, {"null": None, "1": "1"}),
    "no schema": ({}, {"1": 1, "a": "a", '"a"': "a", "null": None, "NaN": "NaN"}),
    "true for a schema": (True, {"1": 1, "a": "a"}),
    "nonsense for a schema": (["string"], {"1": 1, "a": "a"}),
    "an unknown type": ({"type": "quux"}, {"1": 1, "a": "a"}),
    "Python's names": ({"type": "str"}, {"1": "1"}),
    "names in capitals": ({"type": "STRING"}, {"1": "1"}),
    "an empty list of types": ({"type": []}, {"1": 1}),
    "strings listed": (COLOUR, {"red": "red", "1": "1"}),
    "digits listed as strings": ({"enum": ["1", "2"]}, {"1": "1", "3": "3"}),
    "all sorts listed": ({"enum": ["1", 2, None, "null"]}, {"1": "1", "2": 2, "null": "null", "3": 3}),
    "a float listed": ({"enum": [1.0]}, {"1": 1}),
    "a type and a list": ({"type": "string", "enum": ["1"]}, {"1": "1"}),
    "const": ({"const": "7"}, {"7": "7"}),
    "const number": ({"const": 7}, {"7": 7}),
    "anyOf": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"1": 1, "null": None, "a": "a"}),
    "anyOf of strings": ({"anyOf": [{"type": "string"}, COLOUR]}, {"1": "1", "red": "red"}),
    "anyOf with const": ({"anyOf": [{"const": "1"}, {"type": "integer"}]}, {"1": "1", "2": 2}),
    "anyOf with anything": ({"anyOf": [{"type": "string"}, {}]}, {"1": 1}),
    "oneOf": ({"oneOf": [{"type": "string"}, {"type": "array"}]}, {"[1]": [1], "1": "1"}),
    "allOf": ({"allOf": [{"type": ["string", "integer"]}, {"type": "string"}]}, {"1": "1"}),
    "allOf of numbers": ({"allOf": [{"type": "number"}, {"type": "integer"}]}, {"1": 1, "1.5": "1.5"}),
    "allOf that nothing fits": ({"allOf": [{"type": "string"}, {"type": "integer"}]}, {"1": 1}),
    "a reference": ({"$ref": "#/$defs/colour"}, {"1": "1"}),
    "a reference and a null": (
        {"anyOf": [{"$ref": "#/$defs/colour"}, {"type": "null"}]},
        {"null": None, "1": "1"},
    ),
    "a reference in old style": ({"$ref": "#/definitions/n"}, {"1": 1}),
    "a reference with escapes": ({"$ref": "#/$defs/a~1b%20~0"}, {"1": "1"}),
    "a reference into a list": ({"$ref": "#/$defs/either/anyOf/0"}, {"1": "1"}),
    "a reference to itself": ({"$ref": "#/$defs/loop"}, {"1": 1}),
    "a reference to nothing": ({"$ref": "#/$defs/none"}, {"1": 1, "a": "a"}),
    "a reference elsewhere": ({"$ref": "https://example.org/s.json"}, {"1": 1}),
}
DEFINITIONS = {
    "$defs": {
        "colour": COLOUR,
        "a/b ~": {"type": "string"},
        "either": {"anyOf": [{"type": "string"}]},
        "loop": {"anyOf": [{"$ref": "#/$defs/loop"}, {"type": "string"}]},
    },
    "definitions": {"n": {"type": "integer"}},
}

OBJECTS = {
    "properties": (PART, 1),
    "properties of a reference": ({"$ref": "#/$defs/part", "$defs": {"part": PART}}, 1),
    "properties of allOf": ({"allOf": [PART, {"properties": {"m": {}}}]}, 1),
    "properties of anyOf": ({"anyOf": [PART, {"properties": {"n": {"type": "null"}}}]}, 1),
    "a string in one of anyOf": ({"oneOf": [{"properties": {"n": {"type": "string"}}}, {}]}, "1"),
    "patternProperties": ({"patternProperties": {"^[a-z]$": {"type": "string"}}}, "1"),
    "patternProperties of others": ({"patternProperties": {"^x": {"type": "string"}}}, 1),
    "a broken pattern": ({"patternProperties": {"(": {"type": "string"}}}, 1),
    "additionalProperties": ({"properties": {}, "additionalProperties": {"type": "string"}}, "1"),
    "additionalProperties of any kind": ({"additionalProperties": True}, 1),
    "no parameters": (None, 1),
    "nonsense": ([], 1),
}


@pytest.mark.parametrize(("schema", "values"), VALUES.values(), ids=VALUES)
def test_values(schema, values):
    parameters = {"type": "object", "properties": {"k": schema}, **DEFINITIONS}
    of = ArgumentTypes([{"name": "f", "parameters": parameters}]).of("f", "k")
    assert repr({text: of.value(text) for text in values}) == repr(values)


@pytest.mark.parametrize(("parameters", "value"), OBJECTS.values(), ids=OBJECTS)
def test_where_the_schema_of_an_argument_is_found(parameters, value):
    types = ArgumentTypes([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert repr(types.of("f", "n").value("1")) == repr(value)


def test_tools_without_a_name_and_unknown_tools_take_anything():
    assert ArgumentTypes([{"type": "web_search"}]).of("f", "k").value("1") == 1


def test_deep_and_very_long_values_stay_strings():
    anything = ArgumentTypes([]).of("f", "k")
    for text in ("[" * 100_000 + "]" * 100_000, "1" * 100_000):
        assert anything.value(text) == text
