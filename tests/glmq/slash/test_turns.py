"""Commands of a chat that tell of it, and that take its turns back, answer anew or forget them."""

from __future__ import annotations

import shlex
import sys

import pytest

from glmq.cli import slash

from .told_by_commands import contents, refused


def test_help_tells_of_every_command(talk):
    told = talk.say("/help")
    assert all(f"\n{name}" in f"\n{told}" for name in slash.COMMANDS)
    assert max(map(len, told.split("\n"))) <= 80


def test_unknown_commands(talk):
    assert refused(talk, "/dance now").startswith("there is no command /dance; /help lists them")
    talk.say(" /dance is how I begin")
    assert contents(talk)[0] == " /dance is how I begin"


@pytest.mark.parametrize("name", [name for name, each in slash.COMMANDS.items() if not each.arguments])
def test_commands_without_arguments_take_none(talk, name):
    talk.say("one")
    assert refused(talk, f"{name} now") == f"{name} stands alone, without 'now' behind it"
    assert contents(talk) == ["one", "answer 1"]


def test_undo_takes_turns_back(talk):
    talk.say("one", "two\nand more")
    assert talk.say("/undo") == "Taken back: two…"
    assert contents(talk) == ["one", "answer 1"]
    assert talk.say("/undo") == "Taken back: one"
    assert "no message of yours" in refused(talk, "/undo")


def test_retry_answers_anew(talk):
    talk.say("one", "/retry")
    assert contents(talk) == ["one", "answer 2"]
    assert talk.prompts[0] == talk.prompts[1]
    talk.say("/clear")
    assert "no message of yours" in refused(talk, "/retry")


def test_a_retry_that_is_stopped_at_once_keeps_the_answer(talk, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    talk.say("one")
    talk.script.stop_at = ""
    talk.say("/retry")
    assert contents(talk) == ["one", "answer 1"]


def editor(tmp_path, monkeypatch, program):
    """Makes a Python program the editor; `path` in it is the file's."""
    script = tmp_path / "editor.py"
    script.write_text(f"import sys, pathlib, os\npath = pathlib.Path(sys.argv[1])\n{program}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")


CHANGE = """
path.write_text(path.read_text().strip() + ' more\\n')
os.utime(path, (10, 10))
"""


def test_edit_changes_the_last_message(talk, tmp_path, monkeypatch):
    editor(tmp_path, monkeypatch, CHANGE)
    talk.say("one", "two", "/edit")
    assert contents(talk) == ["one", "answer 1", "two more", "answer 3"]
    editor(tmp_path, monkeypatch, "pass")
    assert talk.say("/edit") == "Nothing is changed."
    assert contents(talk)[-1] == "answer 3"
    editor(tmp_path, monkeypatch, "sys.exit(3)")
    assert "EDITOR" in refused(talk, "/edit")
    talk.say("/clear")
    assert "no message of yours" in refused(talk, "/edit")


def test_clear_forgets_all_but_the_system_message(talk):
    assert talk.say("/system") == "There is no system message."
    assert talk.say("/system Be brief.") == "The system message is set: Be brief."
    talk.say("one", "/clear")
    assert contents(talk) == ["Be brief."]
    talk.say("two")
    assert "Be brief." in talk.prompts[-1]
    assert talk.say("/system off") == "The system message is gone."
    assert contents(talk) == ["two", "answer 2"]


def test_stats_and_tools(talk):
    told = talk.say("/stats")
    assert "mapped into memory" in told and "context 0 of 8,192 tokens (0%)" in told
    assert "--tools" in talk.say("/tools")
