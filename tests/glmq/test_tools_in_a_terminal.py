"""The options of a chat with tools, and the question whether a call may run, in a real terminal."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner
from glmq_kernels.errors import UserError

from glmq.cli.tool_options import Confirmation, open_toolbox, shown_call, tool_options
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
    answer(terminal, "not on my machine")
    terminal.expect("answer: 'not on my machine'")


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


def test_files_are_opened_together_and_without_any_there_are_no_tools(tmp_path):
    (tmp_path / "a.py").write_text('def f() -> str:\n    "Gives."\n    return "x"\n')
    (tmp_path / "b.py").write_text('def g() -> str:\n    "Gives."\n    return "y"\n')
    with open_toolbox([str(tmp_path / "a.py"), str(tmp_path / "b.py")], [], 5.0) as toolbox:
        assert [toolbox.call(name, {}).text for name in toolbox.tools] == ["x", "y"]
    with open_toolbox([], [], 5.0) as toolbox:
        assert toolbox.definitions == []
    with (
        pytest.raises(UserError, match="no such file"),
        open_toolbox([str(tmp_path / "a.py"), "c.py"], [], 5.0),
    ):
        pass
