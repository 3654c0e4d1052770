"""Tool calls name a tool and give arguments that fit its schema; everything else stays free."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from glmq_kernels.errors import UserError

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


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([], "no tools"),
        ([tool("", {})], "no name"),
        ([tool("f", {}, ["x"])], "the tool f requires x"),
        ([tool("f", {str(i): {} for i in range(65)})], "the tool f has 65 parameters"),
        ([tool("f", {"x": {"type": "nope"}})], "the tools' schema is refused: .*Invalid type: nope"),
        ([tool("f", {"x": {"$ref": "#/$defs/none"}})], "the tool f refers to #/\\$defs/none"),
        (
            [tool("f", {"x": {"$ref": "#/$defs/a"}}, **{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}})],
            "the schema of the tool f refers to itself",
        ),
        ([tool("f", {"x": {"$ref": "http://x"}})], "the tool f refers to http://x"),
        (
            [tool("f", {"x": {"type": "string", "pattern": "(?=a)"}})],
            "the tools' schema is refused: .*look-around",
        ),
    ],
)
def test_refusals(spelled, tools, message):
    with pytest.raises(UserError, match=message) as refusal:
        tool_call_constraint(tools, spelled)
    assert "\n" not in str(refusal.value)
