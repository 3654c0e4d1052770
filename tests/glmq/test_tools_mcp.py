"""Model Context Protocol servers as sources of tools: real servers, as processes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError

from glmq.tools import ToolBox, mcp_tools

HERE = Path(__file__).parent


def command(script, *arguments):
    return shlex.join([sys.executable, str(HERE / script), *arguments])


SERVER = command("mcp_server.py")


@pytest.fixture(scope="module")
def box():
    with ToolBox([mcp_tools(SERVER)], time_limit=30) as toolbox:
        yield toolbox


@pytest.fixture
def opened():
    """Opens servers; closes them at the end."""
    boxes = []

    def open_box(*commands, time_limit=30):
        boxes.append(ToolBox([mcp_tools(line) for line in commands], time_limit=time_limit))
        return boxes[-1]

    yield open_box
    for box in boxes:
        box.close()


def test_definitions_come_from_the_server(box):
    tool = box.tools["add"]
    assert tool.description == "Add two numbers."
    assert tool.parameters["properties"]["a"]["type"] == "integer"
    assert tool.parameters["required"] == ["a"]


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    (
        ("add", {"a": 2, "b": 3}, "5"),
        ("upper", {"text": "grün\n<x>"}, "GRÜN\n<X>"),
        ("many", {}, "one\nzwölf"),
        ("picture", {}, "[image of the type image/png, not shown: the model reads only text]"),
        ("resources", {}, "[notes: file:///notes.txt]\ninside"),
        ("nothing", {}, "(no output)"),
    ),
)
def test_results_are_text(box, name, arguments, text):
    assert box.call(name, arguments).text.strip() == text


@pytest.fixture
def scripted(opened, tmp_path):
    """Opens servers that say what a script has; gives a box with their tools."""

    def open_box(results, tools=None, **more):
        path = tmp_path / f"script-{len(list(tmp_path.iterdir()))}.json"
        tools = tools or [named(name) for name in results]
        time_limit = more.pop("time_limit", 30)
        path.write_text(json.dumps({"tools": tools, "results": results, **more}))
        return opened(command("mcp_scripted.py", str(path)), time_limit=time_limit)

    return open_box


def named(name, schema=None, **more):
    return {"name": name, "inputSchema": schema or {"type": "object"}, **more}


def text(*lines):
    return [{"type": "text", "text": line} for line in lines]


@pytest.mark.parametrize(
    ("content", "structured", "told"),
    (
        ([], {"ä": 1}, '{"ä": 1}'),
        (text("22 degrees"), {"degrees": 22}, '22 degrees\n{"degrees": 22}'),
        (text('{\n  "degrees": 22\n}'), {"degrees": 22}, '{\n  "degrees": 22\n}'),
        (text("Here:", '{"b": 2, "a": 1.0}'), {"a": 1, "b": 2}, 'Here:\n{"b": 2, "a": 1.0}'),
        (text("5"), {"result": 5}, "5"),
        (text("sunny"), {"result": "sunny"}, "sunny"),
        (text("inside"), {"content": "inside"}, "inside"),
        (text("one", "2"), {"result": ["one", 2]}, "one\n2"),
        (text("one"), {"result": ["one", "two"]}, 'one\n{"result": ["one", "two"]}'),
        (text("{"), {"x": 1}, '{\n{"x": 1}'),
        (text("ok"), {}, "ok\n{}"),
        ([], None, "(no output)"),
    ),
)
def test_structured_content_is_told_unless_a_text_says_the_same(content, structured, told):
    from mcp.types import CallToolResult

    from glmq.tools.mcp import result_text

    assert result_text(CallToolResult(content=content, structured_content=structured)) == told


def test_structured_content_that_its_schema_does_not_allow_reaches_the_model_too(scripted):
    schema = {
        "type": "object",
        "properties": {"x": {"type": "string", "pattern": r"\p{L}"}},
        "required": ["x"],
    }
    result = {"content": text("ok"), "structuredContent": {"y": 1}}
    box = scripted({"f": result}, [named("f", outputSchema=schema)])
    assert box.call("f", {}).text == 'ok\n{"y": 1}'


@pytest.mark.parametrize(
    ("result", "told"),
    (
        ({"content": [{"type": "video", "data": "x"}]}, "[video, not shown: the model reads only text]"),
        ({"content": [{"type": "audio", "data": "QQ==", "mimeType": "audio/wav"}]}, "audio/wav, not shown"),
        ({"content": [{"type": "image"}]}, "[image, not shown: the model reads only text]"),
        (
            {"content": [{"type": "resource", "resource": {"uri": "a:b", "blob": "QQ=="}}]},
            "[a:b, not shown: it is no text]",
        ),
        ({"content": [{"type": "resource"}, *text("x")]}, "[resource, not shown"),
        ({"content": [{"type": "text"}, {"type": "text", "text": 5}]}, "null\n5"),
        ({"content": "plain"}, "plain"),
        ({"content": None, "structuredContent": [1]}, "[1]"),
        ({"structuredContent": {"x": 1}}, '{"x": 1}'),
    ),
)
def test_what_a_model_for_text_cannot_read_is_named(scripted, result, told):
    answer = scripted({"f": result}).call("f", {})
    assert told in answer.text and not answer.failed


@pytest.mark.parametrize(
    ("result", "told"),
    (
        ({"content": text("no wind"), "isError": True}, "Error: f failed: no wind"),
        ({"content": [], "isError": True}, "Error: f failed: (no output)"),
        ({"content": [], "structuredContent": {"why": "rain"}, "isError": True}, '{"why": "rain"}'),
        ({"error": {"code": -32000, "message": "not today"}}, "Error: f failed: not today"),
        ({"error": {"code": -32602, "message": "no such tool"}}, "Error: f failed: no such tool"),
        ("silence", "Error: f was stopped after 0.5 s"),
        ("end", "the MCP server has ended; the next call starts it again"),
    ),
)
def test_a_call_that_fails_says_why_and_the_server_is_there_for_the_next(scripted, result, told):
    box = scripted({"f": result, "g": {"content": text("fine")}}, time_limit=0.5)
    answer = box.call("f", {})
    assert answer.failed and told in answer.text
    box = scripted({"f": result, "g": {"content": text("fine")}})
    if result != "silence":
        box.call("f", {})
    assert box.call("g", {}).text == "fine"


def test_what_a_server_says_before_its_result_is_passed_over(scripted, capfd):
    notes = [
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hi"}},
        {"jsonrpc": "2.0", "method": "notifications/unheard_of", "params": {"x": 1}},
        {"jsonrpc": "2.0", "id": 99, "result": {}},
        {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {}},
        "not the protocol",
        "",
        "[]",
    ]
    box = scripted({"f": {"content": text("fine")}}, before=notes)
    assert [box.call("f", {}).text for _ in range(2)] == ["fine"] * 2
    assert capfd.readouterr() == ("", "")


def test_arguments_that_cannot_be_checked_here_reach_the_server(scripted):
    schemas = {
        "letters": {"type": "object", "properties": {"x": {"type": "string", "pattern": r"^\p{L}+$"}}},
        "anything": {"type": "object", "properties": {"x": {"type": "any"}}},
        "older": {"type": "object", "properties": {"x": {"type": "string", "required": True}}},
    }
    results = {name: {"content": text("fine")} for name in schemas}
    box = scripted(results, [named(name, schema) for name, schema in schemas.items()])
    assert list(box.unchecked) == list(schemas)
    for name in schemas:
        assert box.call(name, {"x": "é"}).text == "fine"


@pytest.mark.parametrize("schema", ({}, {"type": "any"}, [], None, True, {"properties": {}}))
def test_one_odd_definition_does_not_cost_the_others(scripted, schema):
    tools = [{"name": "odd", "inputSchema": schema, "annotations": 5}, {"inputSchema": {}}, 5, named("fine")]
    box = scripted({"odd": {"content": text("odd")}, "fine": {"content": text("fine")}}, tools)
    assert [box.call(name, {"x": 1}).text for name in box.tools] == ["odd", "fine"]
    assert box.tools["odd"].parameters["type"] == "object"


def test_names_are_such_that_models_can_write_them(scripted):
    names = ["get weather", "get_weather", "a.b/c:d-e", "x" * 100, "<|user|>", "größe"]
    box = scripted({name: {"content": text(name)} for name in names})
    assert list(box.tools) == [
        "get_weather", "get_weather_2", "a.b/c:d-e", "x" * 100, "_user_", "größe"
    ]  # fmt: skip
    assert [box.call(name, {}).text for name in box.tools] == names


def test_a_tool_that_is_listed_twice_is_one_and_pages_without_an_end_end(scripted):
    tools = [named("f", description="first"), named("f", description="second")]
    box = scripted({"f": {"content": text("fine")}}, tools, cursor="again")
    assert list(box.tools) == ["f"] and box.tools["f"].description == "first"


def test_two_servers_of_one_name_have_numbers(opened):
    box = opened(command("mcp_pages.py"), command("mcp_pages.py"))
    assert list(box.tools)[::3] == ["pages_first", "pages_2_first"]
    assert box.call("pages_2_second", {}).text == "second was called"


def test_an_error_of_a_tool_is_a_failed_result(box):
    result = box.call("fail", {"why": "no such city"})
    assert result.failed and "fail failed" in result.text and "no such city" in result.text


def test_wrong_arguments_are_a_failed_result(box):
    result = box.call("add", {"a": "x"})
    assert result.failed and "a: 'x' is not of type 'integer'" in result.text


def test_a_server_has_the_environment(opened, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret")
    assert opened(SERVER).call("environment", {"name": "MY_TOKEN"}).text == "secret"


def test_a_call_that_hangs_ends_at_the_time_limit(opened):
    result = opened(SERVER, time_limit=0.5).call("sleep", {"seconds": 60})
    assert result.failed and "sleep was stopped after 0.5 s" in result.text


def test_ctrl_c_during_a_call_leaves_the_server_usable(opened):
    box = opened(SERVER)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        box.call("sleep", {"seconds": 2})
    assert box.call("add", {"a": 1}).text == "2"


def test_a_server_that_dies_is_told_with_its_last_words_and_started_again(opened, capfd):
    box = opened(SERVER)
    result = box.call("die", {"last_words": "out of paper"})
    assert result.failed
    assert "die failed: the MCP server has ended; the next call starts it again" in result.text
    assert "out of paper" in result.text
    assert box.call("add", {"a": 1}).text == "2"
    assert capfd.readouterr() == ("", "")


def test_closing_ends_the_server(opened):
    box = opened(SERVER)
    pid = int(box.call("process", {}).text)
    box.close()
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the server still runs")


def test_names_of_several_servers_are_prefixed_where_they_collide(opened):
    box = opened(
        command("mcp_server.py", "My Files"), command("mcp_server.py", "web"), command("mcp_pages.py")
    )
    assert {"My_Files_add", "web_add", "first", "second", "third"} <= box.tools.keys()
    assert "add" not in box.tools
    assert box.call("web_add", {"a": 1}).text == "2"


def test_all_pages_of_a_server_of_the_older_protocol(opened):
    box = opened(command("mcp_pages.py"))
    assert list(box.tools) == ["first", "second", "third"]
    assert box.call("third", {}).text == "third was called"


def test_a_line_that_is_not_the_protocol_is_passed_over(opened, capfd):
    box = opened(command("mcp_pages.py", "Welcome to the server!"))
    assert box.call("first", {}).text == "first was called"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("line", "told"),
    (
        ("no-such-program-at-all --x", "cannot be started: there is no such program"),
        ("/tmp", "cannot be started: Permission denied"),
        ("sh -c 'echo no licence >&2; exit 3'", "has ended · no licence"),
        ("sh -c 'echo Hello; cat >/dev/null'", "within 1 s · it wrote what is not the protocol: 'Hello'"),
        ("sleep 60", "did not answer within 1 s"),
        ("unbalanced 'quote", "cannot be read: No closing quotation"),
        ("  ", "is empty"),
    ),
)  # fmt: skip
def test_servers_that_cannot_be_used_are_refused_in_one_line(line, told, capfd):
    with pytest.raises(GlmqError) as refusal:
        mcp_tools(line, start_limit=1)
    assert told in str(refusal.value) and "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")
