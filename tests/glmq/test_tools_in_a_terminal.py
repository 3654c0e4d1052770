"""The options of a chat with tools, and the question whether a call may run, in a real terminal."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from glmq_kernels.errors import GlmqError

from glmq.cli.tool_options import Confirmation, approval_of, open_toolbox, shown_call, tool_options
from glmq.tools import Call

from .test_command_line import ENVIRONMENT

pexpect = pytest.importorskip("pexpect")

ASK = """
from glmq.cli.tool_options import Confirmation
from glmq.tools import Call
confirm = Confirmation(yes=False)
for name in ("add", "add", "remove"):
    print("answer:", repr(confirm(Call("c", name, {"a": "x\\ny"}))), flush=True)
"""


@pytest.fixture
def terminal():
    process = pexpect.spawn(sys.executable, ["-c", ASK], env=ENVIRONMENT, encoding="utf-8", timeout=30)
    yield process
    process.close(force=True)


def answer(process, text):
    process.expect("Run it\\?.*: ")
    process.sendline(text)


def test_yes_no_and_a_reason(terminal):
    terminal.expect("Call of add\r\n  a:\r\n    \\| x\r\n    \\| y")
    answer(terminal, "y")
    terminal.expect("answer: True")
    answer(terminal, " No ")
    terminal.expect("answer: False")
    answer(terminal, "no, not on my machine")
    terminal.expect("answer: 'not on my machine'")


def test_what_is_neither_yes_nor_no_is_asked_again(terminal):
    answer(terminal, "not on my machine")
    terminal.expect("Answer yes, no or always")
    answer(terminal, "maybe")
    answer(terminal, "sure")
    terminal.expect("answer: True")


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        *((line, True) for line in ("y", "YES", " yes! ", "ok", "OK.", "okay", "sure", "yes please")),
        *((line, True) for line in ("Yes, please", "ja", "yep", "go ahead", "Sure, please.")),
        *((line, False) for line in ("n", "No", "NO!", "nope", "no thanks", "No thank you.")),
        *((line, "always") for line in ("a", "Always", "always this tool")),
        ("no, it is Sunday", "it is Sunday"),
        ("N: use km instead", "use km instead"),
        ("No - wrong city", "wrong city"),
        *(
            (line, None)
            for line in ("", "  ", "maybe", "not today", "now", "nobody", "no problem", "?", "why")
        ),
        *((line, None) for line in ("ok but not there", "yes, but", "yes, always", "k", "no,", "noon, then")),
    ],
)
def test_only_a_no_refuses_and_only_a_yes_allows(line, meaning):
    assert approval_of(line) == meaning


def test_a_call_that_is_asked_about_is_shown_by_the_question(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    answers = iter(["yes", "always"])
    monkeypatch.setattr("glmq.cli.tool_options.ask_for_line", lambda question: next(answers))
    confirm = Confirmation(yes=False)
    calls = [Call(str(i), "add", {"a": i}) for i in range(4)]
    assert all(confirm.asks(call.name, call.arguments) for call in calls[:3])
    assert [confirm(call) for call in calls[:3]] == [True] * 3
    assert not confirm.asks("add", {"a": 3})
    assert confirm(calls[3]) is True
    assert capsys.readouterr().err.count("Call of add") == 3
    assert not Confirmation(yes=True).asks("add", {})
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert not Confirmation(yes=False).asks("add", {})


def test_always_is_for_one_tool(terminal):
    answer(terminal, "a")
    terminal.expect("answer: True")
    terminal.expect("answer: True")
    terminal.expect("Call of remove")
    answer(terminal, "")  # asked again
    answer(terminal, "n")
    terminal.expect("answer: False")


def test_ctrl_d_refuses_and_ctrl_c_stops(terminal):
    terminal.expect("Run it")
    terminal.sendeof()
    terminal.expect("answer: False")
    terminal.expect("Run it")
    terminal.sendintr()
    terminal.expect("KeyboardInterrupt")


def test_without_a_terminal_all_is_refused_and_told_once(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    confirm = Confirmation(yes=False)
    for _ in range(2):
        assert "--yes" in str(confirm(Call("c", "add", {})))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("Tools are not run") == 1


def test_yes_asks_and_tells_nothing(capsys):
    assert Confirmation(yes=True)(Call("c", "add", {"a": 1})) is True
    assert capsys.readouterr().err == ""


def test_a_call_is_shown_so_that_it_cannot_deceive():
    text = shown_call(
        "evil\x1b[2J\nRun it?",
        {
            "a\nb": "one\r\x1b[1Atwo",
            "text": "first\nCall of add",
            "turned": "a\u202etxt",
            "list": ["ä", None],
        },
    )
    assert text.splitlines() == [
        "Call of evil\ufffd[2J\ufffdRun it?",
        "  a\ufffdb: one\ufffd\ufffd[1Atwo",
        "  text:",
        "    | first",
        "    | Call of add",
        "  turned: a\ufffdtxt",
        '  list: ["ä", null]',
    ]
    assert shown_call("now", {}) == "Call of now, without arguments"


def parsed(*arguments):
    got = {}
    command = click.command()(tool_options(lambda **options: got.update(options)))
    result = CliRunner().invoke(command, arguments)
    return result.exit_code, got


def test_options():
    assert parsed() == (
        0,
        {"tools": (), "mcp": (), "yes": False, "max_rounds": 16, "tool_timeout": 60.0},
    )
    _, got = parsed("--tools", "a.py", "--tools", "b.json", "--mcp", "uvx x", "--yes", "--max-rounds", "3")
    assert got["tools"] == ("a.py", "b.json") and got["mcp"] == ("uvx x",)
    assert got["yes"] and got["max_rounds"] == 3
    assert parsed("--max-rounds", "0")[0] == parsed("--tool-timeout", "0")[0] == 2


def test_what_cannot_be_checked_is_told_once_at_the_start(tmp_path, capsys):
    (tmp_path / "server.json").write_text(
        json.dumps({"tools": [{"name": "f", "inputSchema": {"properties": {"x": {"type": "any"}}}}]})
    )
    server = shlex.join(
        [sys.executable, str(Path(__file__).with_name("mcp_scripted.py")), str(tmp_path / "server.json")]
    )
    with open_toolbox([], [server], 5.0) as toolbox:
        assert toolbox.problem("f", {"x": 1}) is None
    told = capsys.readouterr().err
    assert told.startswith("Arguments of f are not checked before it is called: properties.x.type: 'any'")
    assert told.count("\n") == 1


def test_files_are_opened_together_and_without_any_there_are_no_tools(tmp_path):
    (tmp_path / "a.py").write_text('def f() -> str:\n    "Gives."\n    return "x"\n')
    (tmp_path / "b.py").write_text('def g() -> str:\n    "Gives."\n    return "y"\n')
    with open_toolbox([str(tmp_path / "a.py"), str(tmp_path / "b.py")], [], 5.0) as toolbox:
        assert [toolbox.call(name, {}).text for name in toolbox.tools] == ["x", "y"]
    with open_toolbox([], [], 5.0) as toolbox:
        assert toolbox.definitions == []
    with (
        pytest.raises(GlmqError, match="no such file"),
        open_toolbox([str(tmp_path / "a.py"), "c.py"], [], 5.0),
    ):
        pass
