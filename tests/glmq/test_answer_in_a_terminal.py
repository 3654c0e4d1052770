"""Answers in a real terminal: what the screen shows while they stream, afterwards, and after Ctrl-C."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pexpect")
pytest.importorskip("pyte")

from .emulated_terminal import EmulatedTerminal
from .test_command_line import ENVIRONMENT

WAIT = ["wait"]
ITEMS = "".join(f"- item {i}\n" for i in range(60))
ANSWER = """# Heading

Some *words* with `code`, then 漢字 and more words, as many as are wrapped at forty columns.

1. one
2. two

```python
def f(x):
    return x
```

| a | b |
|---|---|
| 1 | 2 |
"""
ANSWER_80 = """Heading

Some words with code, then 漢字 and more words, as many as are wrapped at forty
columns.

 1. one
 2. two

  def f(x):
      return x

a  b
────
1  2
over"""
ANSWER_40 = """Heading

Some words with code, then 漢字 and
more words, as many as are wrapped at
forty columns.

 1. one
 2. two

  def f(x):
      return x

a  b
────
1  2
over"""


def pieces_of(text, size=5):
    return [["content", text[i : i + size]] for i in range(0, len(text), size)]


@pytest.fixture
def show():
    """Shows an answer in a terminal."""
    terminals = []

    def start(*steps, columns=80, rows=24, settings=None, **environment):
        program = json.dumps([settings or {}, steps])
        terminals.append(
            EmulatedTerminal("show_answer.py", program, columns=columns, rows=rows, **environment)
        )
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize(("columns", "shown"), ((80, ANSWER_80), (40, ANSWER_40)))
def test_markdown(show, columns, shown):
    terminal = show(*pieces_of(ANSWER), columns=columns)
    assert terminal.wait_until_over() == shown
    assert "H" in terminal.styles["bold"]
    assert "w" in terminal.styles["italics"]
    assert "d" in terminal.styles["cyan"]


def test_an_answer_taller_than_the_screen_is_shown_once(show):
    terminal = show(*pieces_of(ANSWER * 3), rows=9)
    assert terminal.wait_until_over() == "\n\n".join([ANSWER_80.removesuffix("\nover")] * 2 + [ANSWER_80])


def test_of_a_block_taller_than_the_screen_the_end_is_shown_while_it_streams(show):
    quote = ITEMS.replace("- ", "> - ")
    terminal = show(*pieces_of(quote), WAIT, columns=40, rows=10)
    terminal.wait_for("item 59")
    assert terminal.screen == [f"▌  • item {i}" for i in range(51, 60)]
    terminal.send("\n")
    assert terminal.wait_until_over() == "\n".join(f"▌  • item {i}" for i in range(60)) + "\nover"


def test_no_colour_keeps_other_styles(show):
    terminal = show(*pieces_of(ANSWER), NO_COLOR="1")
    assert terminal.wait_until_over() == ANSWER_80
    assert set(terminal.styles) == {"default", "bold", "italics", "underscore"}


def test_a_dumb_terminal_gets_the_text_as_it_is(show):
    thinking = ["reasoning", "I think."]
    terminal = show(thinking, *pieces_of(ANSWER), columns=120, TERM="dumb")
    assert terminal.wait_until_over() == f"I think.\n{ANSWER}over"
    assert b"\x1b" not in terminal.received


def test_without_markdown_the_text_is_as_it_comes_but_thinking_is_folded(show):
    terminal = show(
        ["reasoning", "I think."],
        ["content", "\n# One *two*"],
        ["content", "\x1b[2J"],
        settings={"markdown": False},
    )
    shown = "▸ thought for 0 s, 1 token (/thinking shows it)\n\n# One *two*�[2J\nover"
    assert terminal.wait_until_over() == shown


@pytest.mark.parametrize(
    "steps", ([["content", "a\x1b[2J\x9b1;1Hb &#27;c &#155;d \x07"]], [["content", "```\na\x1b[2J\n```"]])
)
def test_an_answer_cannot_steer_the_terminal(show, steps):
    terminal = show(["content", "before\n\n"], *steps)
    assert terminal.wait_until_over().startswith("before\n\n")
    assert "a�[2J" in terminal.text
    assert "\x1b[2J" not in terminal.received.decode()


def test_thinking_shows_its_last_lines_and_is_folded_when_it_ends(show):
    lines = [["reasoning", f"thought {i}\n"] for i in range(20)]
    terminal = show(*lines, WAIT, ["reasoning", "last"], WAIT, ["content", "Answer"])
    terminal.wait_for("thinking for")
    terminal.send("\n")
    terminal.wait_for("last")
    assert terminal.screen[0].startswith("▾ thinking for")
    assert terminal.screen[1:] == ["  thought 17", "  thought 18", "  thought 19", "  last"]
    terminal.send("\n")
    fold, *rest = terminal.wait_until_over().split("\n")
    assert fold.startswith("▸ thought for ") and fold.endswith(" s, 21 tokens (/thinking shows it)")
    assert rest == ["", "Answer", "over"]


def test_unfolded_thinking_stays(show):
    terminal = show(
        ["reasoning", "\none\ntw"],
        ["reasoning", "o\n\n"],
        ["content", "Answer"],
        settings={"thinking": "unfolded"},
    )
    assert terminal.wait_until_over() == "one\ntwo\n\nAnswer\nover"


def test_hidden_thinking_moves_and_leaves_nothing(show):
    terminal = show(
        ["reasoning", "secret"],
        WAIT,
        ["reasoning", "secret"],
        ["content", "Answer"],
        settings={"thinking": "hidden"},
    )
    terminal.wait_for("thinking")
    terminal.send("\n")
    assert terminal.wait_until_over() == "Answer\nover"
    assert b"secret" not in terminal.received


def test_tool_calls_and_results(show):
    terminal = show(
        ["content", "Let me look."],
        ["tool_call", "weather", '{"city"'], WAIT,
        ["tool_call_end", "weather", {"city": "Paris", "note": "x" * 99, "days": 3}],
        ["tool_result", "weather", "1\n2\n3\n4\n5"],
        ["tool_call_end", "nothing", "{", "the arguments cannot be read"],
        ["tool_result", "nothing", "no such tool", True],
        ["content", "So."],
        columns=100,
    )  # fmt: skip
    terminal.wait_for('○ weather {"city"')
    terminal.send("\n")
    cut = '"' + "x" * 58 + "…"
    assert terminal.wait_until_over().split("\n") == [
        "Let me look.", "",
        f'● weather(city="Paris", note={cut}, days=3)', "  1", "  2", "  3", "  … 2 more lines", "",
        "● nothing({)", "  the arguments cannot be read", "  failed: no such tool", "",
        "So.", "over",
    ]  # fmt: skip


@pytest.mark.parametrize("columns", (40, 100))
def test_the_window_may_be_resized_meanwhile(show, columns):
    half = ANSWER.index("words, as") + 5
    terminal = show(*pieces_of(ANSWER[:half]), WAIT, *pieces_of(ANSWER[half:]))
    terminal.wait_for("and more words")
    terminal.resize(columns, 24)
    terminal.send("\n")
    assert terminal.wait_until_over() == (
        ANSWER_40 if columns == 40 else ANSWER_80.replace("\ncolumns", " columns")
    )


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_resizing_a_terminal_that_wraps_its_lines_anew(tmp_path):
    half = ANSWER.index("words, as") + 5
    before = ["content", "Before.\n\n"]  # tmux scrolls away what is first on the screen
    steps = [before, *pieces_of(ANSWER[:half]), WAIT, *pieces_of(ANSWER[half:]), WAIT]
    script = Path(__file__).with_name("show_answer.py")
    command = [sys.executable, script, json.dumps([{}, steps])]

    def tmux(*arguments):
        whole = ["tmux", "-S", tmp_path / "socket", "-f", "/dev/null", *map(str, arguments)]
        return subprocess.run(whole, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout

    def wait_for(text):
        until = time.monotonic() + 10
        while text not in (shown := tmux("capture-pane", "-p", "-S", "-")):
            assert time.monotonic() < until, shown
            time.sleep(0.05)
        return shown.rstrip()

    tmux("new-session", "-d", "-x", 80, "-y", 24, *command)
    try:
        wait_for("and more words")
        tmux("resize-window", "-x", 40, "-y", 24)
        tmux("send-keys", "Enter")
        assert wait_for("1  2") == "Before.\n\n" + ANSWER_40.removesuffix("\nover")
    finally:
        tmux("kill-server")


def test_ctrl_c_leaves_what_is_there_and_a_clean_terminal(show):
    terminal = show(*pieces_of("One\n\nTwo *three"), WAIT)
    terminal.wait_for("Two")
    terminal.send("typed meanwhile")
    terminal.interrupt()
    assert terminal.wait_until_over() == "One\n\nTwo *three\ninterrupted\nover"


def test_ctrl_c_while_it_thinks(show):
    terminal = show(["reasoning", "hmm"], WAIT)
    terminal.wait_for("hmm")
    terminal.interrupt()
    fold, *rest = terminal.wait_until_over().split("\n")
    assert fold.startswith("▸ thought for")
    assert rest == ["interrupted", "over"]


def show_in_pipes(settings, *steps):
    script = Path(__file__).with_name("show_answer.py")
    command = [sys.executable, script, json.dumps([settings, steps])]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return done.stdout.removesuffix("over\n"), done.stderr


def test_a_pipe_gets_the_content_alone():
    steps = (
        ["reasoning", "\nI think"], ["content", "\n\nOne *two*\x1b"], ["content", "\n"],
        ["tool_call", "f", '{"x": 1}'], ["tool_call_end", "f", {"x": 1}], ["tool_result", "f", "1"],
        ["content", "Three"],
    )  # fmt: skip
    content = "One *two*\x1b\nThree\n"
    assert show_in_pipes({}, *steps) == (content, "I think\n[tool call] f(x=1)\n  1\n")
    assert show_in_pipes({"thinking": "hidden"}, *steps) == (content, "[tool call] f(x=1)\n  1\n")


@pytest.mark.parametrize("terminal", ("xterm-256color", "dumb"))
def test_results_of_several_calls_have_names(show, terminal):
    calls = [["tool_call_end", name, {}] for name in ("one", "two")]
    results = [["tool_result", name, "ok"] for name in ("one", "two")]
    shown = show(
        *calls, *results, ["tool_call_end", "three", {}], ["tool_result", "three", "ok"], TERM=terminal
    )
    rows = [row for row in shown.wait_until_over().split("\n") if row.startswith("  ")]
    assert rows == ["  one: ok", "  two: ok", "  ok"]
