"""Model Context Protocol servers as sources of tools: real servers, as processes."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from glmq_kernels.errors import UserError

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


def test_structured_content_without_text_is_json():
    from mcp.types import CallToolResult

    from glmq.tools.mcp import result_text

    assert result_text(CallToolResult(content=[], structured_content={"ä": 1})) == '{"ä": 1}'


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
    with pytest.raises(UserError) as refusal:
        mcp_tools(line, start_limit=1)
    assert told in str(refusal.value) and "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")
