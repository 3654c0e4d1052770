"""The tools of a conversation by name, and calls of them, whatever a tool does."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import given
from hypothesis import strategies as st

from glmq.tools import Tool, ToolBox, ToolFailed, ToolResult, ToolSource

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name="weather", run=lambda arguments, time_limit: "sunny", parameters=CITY, origin="a.py"):
    return Tool(name, "Tells the weather.", parameters, run, origin)


def source(*tools, **more):
    return ToolSource(tools, **more)


def call(run, **options):
    return ToolBox([source(tool(run=run))], **options).call("weather", {"city": "Bonn"})


def raising(error):
    def run(arguments, time_limit):
        raise error

    return run


def test_a_definition_is_what_chat_templates_take():
    [definition] = ToolBox([source(tool())]).definitions
    assert definition == {
        "type": "function",
        "function": {"name": "weather", "description": "Tells the weather.", "parameters": CITY},
    }


def test_a_call_gets_the_arguments_and_the_time_limit():
    result = call(lambda arguments, time_limit: f"{arguments} {time_limit}", time_limit=3)
    assert result == ToolResult("{'city': 'Bonn'} 3")


def test_an_unknown_tool_is_a_failed_result_that_names_the_known_ones():
    box = ToolBox([source(tool(), tool("time"))])
    assert box.call("wether", {}) == ToolResult(
        "Error: there is no tool wether; there is weather, time", failed=True
    )
    assert "there is none" in ToolBox().call("weather", {}).text


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        ({}, "'city' is a required property"),
        ({"city": 3}, "city: 3 is not of type 'string'"),
        ("Bonn", "the arguments are not an object"),
        (None, "the arguments are not an object"),
    ),
)
def test_arguments_that_the_schema_refuses_never_reach_the_tool(arguments, told):
    result = ToolBox([source(tool(run=raising(AssertionError)))]).call("weather", arguments)
    assert result.failed and told in result.text


def test_the_place_of_a_wrong_value_is_told():
    schema = {
        "type": "object",
        "properties": {"days": {"type": "array", "items": {"properties": {"n": {"maximum": 3}}}}},
    }
    result = ToolBox([source(tool(parameters=schema))]).call("weather", {"days": [{"n": 1}, {"n": 9}]})
    assert "days[1].n: 9 is greater than the maximum of 3" in result.text


def test_a_schema_is_not_fetched_over_the_network():
    schema = {"type": "object", "properties": {"city": {"$ref": "http://localhost:1/schema"}}}
    box = ToolBox([source(tool(parameters=schema))])
    assert box.unchecked == {
        "weather": "properties.city.$ref: http://localhost:1/schema is not in the schema"
    }
    assert box.call("weather", {"city": "Bonn"}) == ToolResult("sunny")


UNCHECKED = (
    ({"properties": {"city": {"pattern": r"^\p{L}+$"}}}, "properties.city.pattern: Python cannot read"),
    ({"patternProperties": {"(": {}}}, "patternProperties: Python cannot read the pattern ("),
    ({"properties": {"city": {"type": "any"}}}, "properties.city.type: 'any' is not valid"),
    ({"type": "objekt"}, "type: 'objekt' is not valid"),
    ({"properties": {"city": {"type": "string", "required": True}}}, "properties.city.required: True is not"),
    ({"properties": {"n": {"exclusiveMinimum": True}}}, "properties.n.exclusiveMinimum: True is not"),
    ({"required": "city"}, "required: 'city' is not"),
    ({"properties": {"city": {"$ref": "#/$defs/city"}}}, "#/$defs/city is not in the schema"),
    ({"properties": {"city": {"$ref": "other.json"}}}, "other.json is not in the schema"),
    ({"$ref": "#"}, "the schema refers to itself without end"),
    ({"properties": {"city": "string"}}, "properties.city: 'string' is not"),
)  # fmt: skip


@pytest.mark.parametrize(("schema", "told"), UNCHECKED)
def test_a_tool_whose_schema_cannot_be_used_is_called_and_that_is_told_once(schema, told):
    box = ToolBox([source(tool(parameters={"type": "object", **schema}), tool("other"))])
    assert list(box.unchecked) == ["weather"]
    assert told in box.unchecked["weather"] and "\n" not in box.unchecked["weather"]
    for arguments in ({}, {"city": "Köln"}, {"city": 5, "n": 3}):
        assert box.call("weather", arguments) == ToolResult("sunny")
    assert box.call("weather", "Köln").failed
    assert box.call("other", {}).failed


CHECKED = (
    CITY,
    {},
    {"type": "object", "properties": {"pattern": {"type": "string"}, "required": {"type": "boolean"}}},
    {"type": "object", "properties": {"a": {"default": {"$ref": "x"}, "enum": [{"pattern": "("}]}}},
    {"$defs": {"t": {"properties": {"sub": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"},
    {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 0, "exclusiveMinimum": True},
    {"$schema": "https://example.org/unheard-of", "type": "object"},
    {"$id": "https://example.org/s", "$defs": {"c": {}}, "properties": {"a": {"$ref": "#/$defs/c"}}},
)  # fmt: skip


@pytest.mark.parametrize("schema", CHECKED)
def test_a_schema_that_can_be_used_is(schema):
    assert ToolBox([source(tool(parameters=schema))]).unchecked == {}


def test_a_schema_that_holds_itself_is_followed():
    schema = {"properties": {"sub": {"$ref": "#"}, "n": {"type": "integer"}}}
    box = ToolBox([source(tool(parameters=schema))])
    assert box.call("weather", {"sub": {"sub": {"n": 1}}}) == ToolResult("sunny")
    assert "sub.sub.n: 'x' is not of type" in box.call("weather", {"sub": {"sub": {"n": "x"}}}).text


def test_a_long_wrong_value_is_told_in_short():
    assert len(ToolBox([source(tool())]).call("weather", {"city": ["x" * 100_000]}).text) < 1000


@pytest.mark.parametrize(
    ("error", "told"),
    (
        (ValueError("no such city"), "Error: weather failed: ValueError: no such city"),
        (SystemExit(3), "Error: weather failed: SystemExit: 3"),
        (RecursionError(), "Error: weather failed: RecursionError: "),
        (ToolFailed("no such city"), "Error: no such city"),
    ),
)
def test_what_a_tool_raises_is_a_failed_result(error, told):
    assert call(raising(error)) == ToolResult(told, failed=True)


def test_ctrl_c_is_not_taken_for_a_failure():
    with pytest.raises(KeyboardInterrupt):
        call(raising(KeyboardInterrupt))


def test_a_long_result_is_cut_and_says_by_how_much():
    result = call(lambda arguments, time_limit: "ä" * 25, max_characters=10)
    assert result == ToolResult("ä" * 10 + "\n[cut here: 15 more characters were left out]")
    failed = call(raising(ToolFailed("x" * 50)), max_characters=10)
    assert failed.failed and len(failed.text) < 80


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_result_can_be_encoded(text):
    call(lambda arguments, time_limit: text).text.encode()


def test_two_tools_of_one_name_are_refused_with_their_files_and_all_is_closed():
    closed = []
    sources = [source(tool(origin=name), close=lambda: closed.append(1)) for name in ("a.py", "b.json")]
    with pytest.raises(GlmqError, match=r"two tools of the name weather, from a\.py and b\.json"):
        ToolBox(sources)
    assert closed == [1, 1]


def test_servers_prefix_names_only_where_they_collide():
    box = ToolBox(
        [
            source(tool("search")),
            source(tool("search"), tool("fetch"), prefix="web"),
            source(tool("search"), prefix="files"),
        ]
    )
    assert list(box.tools) == ["search", "web_search", "fetch", "files_search"]


def test_servers_of_one_name_have_numbers():
    box = ToolBox([source(tool("search"), prefix="web"), source(tool("search"), tool("get"), prefix="web")])
    assert list(box.tools) == ["web_search", "web_2_search", "get"]


def test_a_name_that_a_prefix_makes_twice_is_refused():
    with pytest.raises(GlmqError, match="two tools of the name web_search"):
        ToolBox([source(tool("web_search"), tool("search")), source(tool("search"), prefix="web")])


def test_closing_goes_on_after_a_source_that_fails():
    closed = []
    sources = [source(close=lambda: closed.append("a")), source(close=lambda: 1 // 0)]
    with pytest.raises(ZeroDivisionError), ToolBox(sources):
        pass
    assert closed == ["a"]
