"""Tool calls name a tool and give arguments that fit its schema; everything else stays free."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from glmq_kernels.errors import GlmqError

from glmq.chat.thinking_guides import AfterThinking
from glmq.constraint import tool_call_constraint
from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

from .guided_output import KINDS, guided_output, real_vocabularies, small_tokenizer


def tool(name, properties, required=(), **more):
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    tool(
        "weather",
        {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "maximum": 14},
            "unit": {"type": "string", "enum": ["C", "F", "any <unit>"]},
            "at": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
        },
        ["city"],
    ),
    tool("get_time", {}),
]
PARAMETERS = {each["function"]["name"]: each["function"]["parameters"] for each in TOOLS}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    """A vocabulary for each way to have the tags."""
    return small_tokenizer(tmp_path_factory.mktemp("vocabulary"), request.param)


@pytest.fixture(scope="module")
def spelled(tmp_path_factory):
    """A vocabulary in which the tags are several tokens."""
    return small_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def may_say(tokenizer, text, tools=TOOLS):
    """Whether a text may be said and may end there."""
    guide = tool_call_constraint(tools, tokenizer).guide(tokenizer)
    wanted = [*tokenizer.encode(text), min(tokenizer.eog_ids)]
    tokens, ended = guided_output(guide, tokenizer, wanted=wanted, max_tokens=len(wanted), fast_forward=False)
    return ended and tokenizer.decode(tokens) == text


def call(*arguments, name="weather", newline=""):
    """A call in the format of 4.7, or with `newline` of 4.5 and 4.6."""
    parts = [
        f"<arg_key>{key}</arg_key>{newline}<arg_value>{value}</arg_value>{newline}"
        for key, value in arguments
    ]
    return f"<tool_call>{name}{newline}{''.join(parts)}</tool_call>"


@pytest.mark.parametrize("newline", ["", "\n"], ids=["4.7", "4.5 and 4.6"])
@pytest.mark.parametrize(
    "arguments",
    [
        [("city", "Köln")],
        [("city", '"quoted"\n<b>lines</b> {1}')],
        [("city", "")],
        [("days", 7), ("city", "x")],
        [("city", "x"), ("at", "[1.5, -2]"), ("unit", "any <unit>"), ("days", 14)],
    ],
)
def test_calls_in_both_formats(tokenizer, newline, arguments):
    text = call(*arguments, newline=newline)
    assert may_say(tokenizer, text)
    assert may_say(tokenizer, f"I'll look <b> that up.\n{text}\n{call(name='get_time', newline=newline)}")


@pytest.mark.parametrize("text", ["", "no calls", "a < b <tool> </arg_value> {", "<tool_cal", "</tool_call>"])
def test_text_without_calls_is_free(tokenizer, text):
    assert may_say(tokenizer, text) == tokenizer.special_ids.isdisjoint(tokenizer.encode(text))


@pytest.mark.parametrize(
    "text",
    [
        call(("city", "x"), name="unknown"),
        call(),
        call(("days", 7)),
        call(("city", "x"), ("days", 15)),
        call(("city", "x"), ("days", "seven")),
        call(("city", "x"), ("days", '"7"')),
        call(("city", "x"), ("unit", "K")),
        call(("city", "x"), ("unit", '"C"')),
        call(("city", "x"), ("at", "[1, 2, 3]")),
        call(("city", "x"), ("other", "y")),
        call(("city", "x"), ("city", "y")),
        call(("zone", "x"), name="get_time"),
        call(("city", "x"))[: -len("</tool_call>")],
        "<tool_call>",
        "<tool_call>weather<arg_key>city</arg_key><arg_value>x",
        "text <tool_call> is a tag",
    ],
)
def test_calls_that_do_not_fit_cannot_be_said(tokenizer, text):
    assert not may_say(tokenizer, text)


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({}, ["any", "1", '{"a"'], []),
        (True, ["any", ""], []),
        ({"type": ["string", "null"]}, ["any", "null"], []),
        ({"type": ["integer", "null"]}, ["12", "null"], ["x", "1.5"]),
        ({"enum": ["a", 1, None, True]}, ["a", "1", "null", "true"], ["b", "2", '"a"']),
        ({"const": "on"}, ["on"], ["off", "o"]),
        ({"anyOf": [{"const": "auto"}, {"type": "integer"}]}, ["auto", "5"], ["aut", "5.5"]),
        (
            {"anyOf": [{"enum": ["x"]}, {"type": "array", "items": {"type": "string"}}]},
            ["x", '["a", "b"]'],
            ["y"],
        ),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü"], ["a", "abcd"]),
        ({"type": "string", "pattern": "^[A-Z]{2}$"}, ["DE"], ["D", "de", "DEX"]),
        ({"type": "string", "pattern": r"\d/\d"}, ["a1/2b", "1/2"], ["12", ""]),
        ({"type": "string", "pattern": "^(on|off)$"}, ["on", "off"], ["no"]),
        ({"type": "string", "pattern": "a|b"}, ["xa", "b"], ["x"]),
        ({"type": "boolean"}, ["true"], ["True", "1"]),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}}},
            ['{"n": 1}', '{"n":1}'],
            ['{"n": "x"}', "{"],
        ),
        ({"properties": {"n": {"type": "integer"}}, "required": ["n"]}, ['{"n": 1}'], ["{}", "x"]),
        ({"$ref": "#/$defs/small"}, ["1"], ["9"]),
        ({"allOf": [{"$ref": "#/$defs/small"}]}, ["1"], ["9"]),
        ({"type": "array", "items": {"$ref": "#/$defs/small"}}, ["[1, 2]"], ["[9]"]),
    ],
    ids=str,
)
def test_values_by_schema(spelled, schema, fits, does_not):
    tools = [
        tool("f", {"v": schema}, **{"$defs": {"small": {"type": "integer", "maximum": 2, "minimum": 0}}})
    ]
    for value in fits:
        assert may_say(spelled, call(("v", value), name="f"), tools), value
    for value in does_not:
        assert not may_say(spelled, call(("v", value), name="f"), tools), value


ARGUMENT = r"<arg_key>(.*?)</arg_key>\n?<arg_value>(.*?)</arg_value>\n?"


def assert_a_call_fits(tokenizer, seed, after_thinking=False, max_tokens=600):
    """Of a model that begins a call and then says anything; whether the call came to its end."""
    constraint = tool_call_constraint(TOOLS, tokenizer)
    guide = constraint.guide(tokenizer)
    start = "<tool_call>"
    if after_thinking:
        guide = AfterThinking(lambda: constraint.guide(tokenizer), tokenizer, True)
        start = "a <tool_call>free?</think><tool_call>"
    tokens, _ = guided_output(guide, tokenizer, seed, max_tokens=max_tokens, wanted=tokenizer.encode(start))
    said = tokenizer.decode(tokens)
    assert said.startswith(start)
    found = re.match(rf"(\w+)\n?((?:{ARGUMENT})*)</tool_call>", said[len(start) :], re.DOTALL)
    if found is None:
        assert len(tokens) >= max_tokens
        return False
    parameters = PARAMETERS[found[1]]
    arguments = re.findall(ARGUMENT, found[2], re.DOTALL)
    is_string = {key: schema["type"] == "string" for key, schema in parameters["properties"].items()}
    values = {key: value if is_string[key] else json.loads(value) for key, value in arguments}
    jsonschema.validate(values, parameters)
    assert len(values) == len(arguments)
    return True


@pytest.mark.parametrize("after_thinking", [False, True])
def test_whatever_a_model_calls_fits(tokenizer, after_thinking):
    n_closed = sum(assert_a_call_fits(tokenizer, seed, after_thinking) for seed in range(8))
    assert n_closed > 0


@real_vocabularies
def test_real_vocabularies(path):
    tokenizer = load_tokenizer(open_gguf(path))
    for seed in range(2):
        assert_a_call_fits(tokenizer, seed, max_tokens=150)
    for newline in ("", "\n"):
        assert may_say(tokenizer, "Well: " + call(("city", "Köln"), ("days", 3), newline=newline))


@pytest.mark.parametrize(("tools", "message"), [([], "no tools"), ([tool("", {})], "no name")])
def test_refusals(spelled, tools, message):
    with pytest.raises(GlmqError, match=message) as refusal:
        tool_call_constraint(tools, spelled)
    assert "\n" not in str(refusal.value)


LOOK_AHEAD = {"type": "string", "pattern": "(?=a)"}
LOOP = {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}
FREE, OF_TYPE = "any text is allowed", "only its type is held"


@pytest.mark.parametrize(
    ("schema", "more", "note", "fits", "does_not"),
    [
        (LOOK_AHEAD, {}, f"{FREE}: look-around", ["b"], []),
        ({"type": "string", "pattern": "\\p{Foo}"}, {}, f"{FREE}: Unicode property not found", ["b"], []),
        ({"type": "string", "minLength": -1}, {}, f"{FREE}: minLength is no number", ["b"], []),
        ({"type": "any"}, {}, f"{FREE}: Invalid type: any", ["b", "1"], []),
        ({"type": 5}, {}, f"{FREE}: type is 5", ["b", "1"], []),
        ({"enum": "abc"}, {}, f"{FREE}: enum is no list", ["b"], []),
        ({"$ref": "#/$defs/none"}, {}, f"{FREE}: it refers to #/\\$defs/none", ["b"], []),
        ({"$ref": "http://x"}, {}, f"{FREE}: it refers to http://x", ["b"], []),
        ({"$ref": "#/$defs/a"}, LOOP, f"{FREE}: its schema refers to itself", ["b"], []),
        ({"type": "integer", "not": {}}, {}, rf"{OF_TYPE} \(integer\): these keywords .*not", ["7"], ["b"]),
        (
            {"type": "object", "properties": {"a": LOOK_AHEAD}},
            {},
            rf"{OF_TYPE} \(object\): look-around",
            ['{"a": 1}'],
            ["b"],
        ),
        ({"type": "string", "format": "date", "maxLength": 3}, {}, "format is not held", ["abc"], ["abcd"]),
    ],
)
def test_what_cannot_be_followed_is_told_and_the_rest_holds(spelled, schema, more, note, fits, does_not):
    tools = [tool("g", {}), tool("f", {"v": schema, "n": {"type": "integer"}}, ["v"], **more)]
    (found,) = tool_call_constraint(tools, spelled).notes
    assert re.search(f"^the tool f, parameter v: {note}", found)
    assert "\n" not in found
    for value in fits:
        assert may_say(spelled, call(("v", value), ("n", "7"), name="f"), tools)
        assert not may_say(spelled, call(("v", value), ("n", "seven"), name="f"), tools)
        assert not may_say(spelled, call(("n", "7"), name="f"), tools)
    for value in does_not:
        assert not may_say(spelled, call(("v", value), name="f"), tools)


def test_more_parameters_than_can_be_counted(spelled):
    tools = [tool("f", {f"p{i}": {"type": "integer"} for i in range(65)}, ["p0"])]
    assert tool_call_constraint(tools, spelled).notes == (
        "the tool f: of more than 64 parameters any may be left out or repeated",
    )
    assert may_say(spelled, call(("p64", "1"), ("p0", "2"), name="f"), tools)
    assert not may_say(spelled, call(("p64", "x"), name="f"), tools)
    assert not may_say(spelled, call(("p65", "1"), name="f"), tools)


def test_parameters_that_only_alternatives_have(spelled):
    kinds = [
        {
            "properties": {"kind": {"const": "text"}, "value": {"type": "string"}},
            "required": ["kind", "value"],
        },
        {"properties": {"kind": {"const": "count"}, "value": {"type": "integer"}}, "required": ["kind"]},
    ]
    for keyword in ("anyOf", "oneOf"):
        tools = [{"name": "f", "parameters": {"type": "object", keyword: kinds}}]
        assert may_say(spelled, call(("kind", "text"), ("value", "7 apples"), name="f"), tools)
        assert may_say(spelled, call(("kind", "count"), name="f"), tools)
        assert not may_say(spelled, call(("value", "7"), name="f"), tools)
        assert not may_say(spelled, call(("kind", "other"), name="f"), tools)
        assert tool_call_constraint(tools, spelled).notes == (
            f"the tool f: {keyword} of its parameters together is not held, only each parameter for itself",
        )
    tools = [{"name": "f", "parameters": {"allOf": kinds[1:], "properties": {"more": {}}}}]
    assert may_say(spelled, call(("more", "x"), ("kind", "count"), ("value", "7"), name="f"), tools)
    assert tool_call_constraint(tools, spelled).notes == ()


def test_a_required_parameter_without_a_schema_can_be_given(spelled):
    tools = [tool("f", {}, ["x"])]
    assert may_say(spelled, call(("x", "anything"), name="f"), tools)
    assert not may_say(spelled, call(name="f"), tools)


@pytest.mark.parametrize("pattern", ["^a|b$", "^(a|b)", "[|]$", "a\\|b", "(x|y)z|^w"])
def test_patterns_find_what_a_search_finds(spelled, pattern):
    tools = [tool("f", {"v": {"type": "string", "pattern": pattern}})]
    for value in ("a", "b", "ac", "ca", "bc", "cb", "|", "|a", "a|b", "yz", "xyz1", "w", "xw"):
        fits = re.search(pattern, value) is not None
        assert may_say(spelled, call(("v", value), name="f"), tools) == fits, value
