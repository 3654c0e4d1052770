"""Typing messages at a terminal: several lines, paste, completion, history, the editor, questions."""

from __future__ import annotations

import os
import sys

import pytest

pytest.importorskip("pexpect")
pytest.importorskip("pyte")

from glmq.cli.command_completer import CommandCompleter
from glmq.cli.completion import paths, words

from .emulated_terminal import EmulatedTerminal

PASTE = "\x1b[200~{}\x1b[201~"
ENTER, ALT_ENTER, CTRL_C, CTRL_D, TAB, UP = "\r", "\x1b\r", "\x03", "\x04", "\t", "\x1b[A"


@pytest.fixture
def prompt(tmp_path):
    """Starts reading messages."""
    terminals = []

    def start(**environment):
        terminal = EmulatedTerminal("read_messages.py", GLMQ_CACHE=str(tmp_path / "cache"), **environment)
        terminals.append(terminal)
        terminal.wait_for(">")
        return terminal

    (tmp_path / "cache").mkdir()
    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize(
    ("typed", "message"),
    (
        ("Hello" + ENTER, '"Hello"'),
        ("one" + ALT_ENTER + "two" + ENTER, r'"one\ntwo"'),
        ("one\\" + ENTER + "two" + ENTER, r'"one\ntwo"'),
        ('"""one' + ENTER + "two" + ENTER + '"""' + ENTER, r'"one\ntwo"'),
        ('"""one"""' + ENTER, '"one"'),
        ('say """one"""' + ENTER, r'"say \"\"\"one\"\"\""'),
        ('"""one""" and """two"""' + ENTER, r'"\"\"\"one\"\"\" and \"\"\"two\"\"\""'),
        (PASTE.format("one\r\n  two\n\nthree\n") + ENTER, r'"one\n  two\n\nthree"'),
        ("see: " + PASTE.format("a\\\nb") + ENTER, r'"see: a\\\nb"'),
    ),
)
def test_messages(prompt, typed, message):
    terminal = prompt()
    terminal.send(typed)
    terminal.wait_for(f"got {message}")


def test_ctrl_d_leaves_and_ctrl_c_twice(prompt):
    terminal = prompt()
    terminal.send(CTRL_D)
    assert terminal.wait_until_over().endswith("over")
    terminal = prompt()
    terminal.send(CTRL_C)
    terminal.wait_for("Ctrl-C again")
    terminal.send(CTRL_C)
    assert terminal.wait_until_over().endswith("over")


def test_ctrl_c_clears_what_is_typed_and_only_empty_lines_leave(prompt):
    terminal = prompt()
    terminal.send("half a mess" + CTRL_C + CTRL_C)
    terminal.wait_for("Ctrl-C again")
    terminal.send("whole" + ENTER)
    terminal.wait_for('got "whole"')
    terminal.send(CTRL_C)
    terminal.wait_for("Ctrl-C again")
    terminal.send("half" + CTRL_C + "all" + ENTER)
    terminal.wait_for('got "all"')


def test_the_history_is_for_its_owner_alone_and_can_be_left_out(prompt, tmp_path):
    history = tmp_path / "cache" / "chat-history"
    terminal = prompt(NO_HISTORY="1")
    terminal.send("secret" + ENTER + CTRL_D)
    terminal.wait_until_over()
    assert not history.exists()
    terminal = prompt()
    terminal.send("kept" + ENTER + CTRL_D)
    terminal.wait_until_over()
    assert "kept" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_the_status_is_shown_below_while_typing(prompt):
    terminal = prompt()
    terminal.wait_for("12 of 100 tokens")
    terminal.send("Hello" + ENTER + CTRL_D)
    assert "12 of 100" not in terminal.wait_until_over()


def test_history_over_sessions(prompt):
    terminal = prompt()
    terminal.send(PASTE.format("two\nlines") + ENTER)
    terminal.wait_for("got")
    terminal.send(CTRL_D)
    terminal.wait_until_over()
    terminal = prompt()
    terminal.send(UP + ENTER)
    terminal.wait_for(r'got "two\nlines"')


def test_a_history_that_cannot_be_kept_is_told_once(prompt, tmp_path):
    os.mkfifo(tmp_path / "cache" / "chat-history")
    terminal = prompt()
    terminal.wait_for("not kept for later chats")
    terminal.send("Hello" + ENTER + CTRL_D)
    assert 'got "Hello"' in terminal.wait_until_over()


def test_resizing_while_typing(prompt):
    terminal = prompt()
    terminal.send("a message that is long enough to be wrapped")
    terminal.wait_for("wrapped")
    terminal.resize(30, 24)
    terminal.send("!" + ENTER)
    terminal.wait_for('"a message')
    terminal.send(CTRL_D)
    assert "to be wrapped!" in terminal.wait_until_over().replace("\n", "")


def test_tab_completes(prompt, tmp_path):
    (tmp_path / "a long name.json").touch()
    terminal = prompt()
    terminal.send("/l" + TAB + f"{tmp_path}/a l" + TAB + ENTER)
    terminal.wait_for('got "/load')
    assert "name.json" in "".join(terminal.screen)
    terminal.send("/s" + TAB + "to" + TAB + ENTER)
    terminal.wait_for('got "/set top_k"')


def test_the_editor(prompt, tmp_path):
    script = tmp_path / "editor.py"
    script.write_text("import sys; open(sys.argv[1], 'a').write('added')")
    terminal = prompt(VISUAL=f"{sys.executable} {script}")
    terminal.send("/edit" + ENTER)
    terminal.wait_for(r'got "initial\nadded"')
    script.write_text("")
    terminal.send("/edit" + ENTER)
    terminal.wait_for("got null")


def test_questions(prompt):
    terminal = prompt()
    terminal.send("/ask" + ENTER)
    terminal.wait_for("Run it? [yes/no/always]")
    terminal.send("maybe" + ENTER + "A" + ENTER)
    terminal.wait_for('got "always"')
    terminal.send("/ask" + ENTER)
    terminal.wait_for("[yes/no/always]")
    terminal.send(CTRL_C)
    terminal.wait_for("got null")


def test_a_dumb_terminal_reads_lines(prompt):
    terminal = prompt(TERM="dumb")
    terminal.send("Hello" + ENTER)
    terminal.wait_for('got "Hello"')
    shows_cursor = b"\x1b[?12l\x1b[?25h"  # prompt_toolkit begins with it whatever the terminal
    assert b"\x1b" not in terminal.received.removeprefix(shows_cursor)


def completions(text, commands):
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    found = CommandCompleter(commands).get_completions(Document(text), CompleteEvent())
    return [text[: len(text) + completion.start_position] + completion.text for completion in found]


@pytest.mark.parametrize(
    ("typed", "completed"),
    (
        ("/", ["/set ", "/save ", "/help"]),
        ("/s", ["/set ", "/save "]),
        ("/help", ["/help"]),
        ("/help ", []),
        ("/set t", ["/set temperature", "/set top_k"]),
        ("/set te", ["/set temperature"]),
        ("/save ", ["/save folder/", "/save two words.txt"]),
        ("/save two w", ["/save two words.txt"]),
        ("/save .", ["/save .hidden"]),
        ("/save folder/", ["/save folder/inside"]),
        ("/save nowhere/", []),
        ("a /s", []),
        ("/s\nx", []),
    ),
)
def test_completions(typed, completed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("folder/inside", "two words.txt", ".hidden"):
        (tmp_path / name).touch()
    commands = {"/set": words(["temperature", "top_k"]), "/save": paths, "/help": None}
    assert completions(typed, commands) == completed


def test_the_home_folder_is_completed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    assert paths("~/f") == ["~/file"]
