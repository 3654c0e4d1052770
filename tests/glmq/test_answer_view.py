"""Parts of the answer's view that need no terminal."""

from __future__ import annotations

import io
import signal
from collections import deque
from itertools import count

import pytest

from glmq.cli.live_region import BEGIN_UPDATE, n_rows
from glmq.cli.terminal import ask
from glmq.cli.terminal_answer import TerminalAnswer
from glmq.cli.tool_lines import call_line, result_lines


@pytest.mark.parametrize(
    ("arguments", "line"),
    (
        ({}, "f()"),
        ({"a": "x\ny", "b": None, "c": [1, {"d": "é"}]}, 'f(a="x\\ny", b=null, c=[1, {"d": "é"}])'),
        ({"a": "x" * 100}, f'f(a="{"x" * 58}…)'),
        ('{"a":\n 1', 'f({"a": 1)'),
    ),
)
def test_a_call_in_a_line(arguments, line):
    assert call_line("f", arguments) == line


@pytest.mark.parametrize(
    ("text", "failed", "lines"),
    (
        ("", False, ["(nothing)"]),
        ("one\n", False, ["one"]),
        ("1\n2\n3\n4", False, ["1", "2", "3", "… 1 more line"]),
        ("1\n2\n3\n4\n5", True, ["failed: 1", "2", "3", "… 2 more lines"]),
    ),
)
def test_the_first_lines_of_a_result(text, failed, lines):
    assert result_lines(text, failed) == lines


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    (("", 4, 1), ("abcd", 4, 1), ("abcde", 4, 2), ("漢字漢", 5, 2), ("漢字漢", 3, 3)),
)
def test_rows_that_a_line_takes(text, columns, rows):
    assert n_rows(text, columns) == rows


def drawings(seconds_a_look):
    """How often an answer of 100 pieces is drawn when the clock goes on by so much at every look."""
    stream, ticks = io.StringIO(), count()
    size, clock = lambda: (80, 24), lambda: next(ticks) * seconds_a_look
    with TerminalAnswer(stream, size=size, clock=clock) as view:
        for i in range(100):
            view.content(f"word{i} ")
    return stream.getvalue().count(BEGIN_UPDATE)


def test_drawing_that_takes_long_is_done_less_often():
    assert drawings(1e-6) < 5 < drawings(0.03) < 50 < drawings(2.0)


def test_calls_and_results_cannot_steer_the_terminal():
    stream = io.StringIO()
    with TerminalAnswer(stream, size=lambda: (80, 24)) as view:
        view.tool_call("na\x1b]0;me", "\x1b[2J")
        view.tool_call_end("na\x1b]0;me\n", "{\x1b[2J", "bad\x1b[2J")
        view.tool_result("name", "\x1b[2Jresult\r\nnext\x9b2J")
        view.reasoning("\x1b[2J")
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x1b]" not in stream.getvalue()
    assert "\x9b" not in stream.getvalue()
    assert "result\n" in stream.getvalue().replace("\x1b[0m", "")


class InterruptedStream(io.StringIO):
    """Ctrl-C is pressed while something is written to it for the second time."""

    n_writes = 0

    def write(self, text):
        self.n_writes += bool(text)
        if text and self.n_writes == 2:
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


@pytest.mark.parametrize("markdown", (True, False))
def test_ctrl_c_in_the_middle_of_drawing_loses_nothing(markdown):
    pyte = pytest.importorskip("pyte")
    stream = InterruptedStream()
    view = TerminalAnswer(stream, markdown=markdown, size=lambda: (40, 9), clock=count().__next__)
    with pytest.raises(KeyboardInterrupt), view:
        deque(map(view.content, ("word0\n\n", "word1\n\n", "word2\n\n")))
    screen = pyte.Screen(40, 9)
    pyte.Stream(screen).feed(stream.getvalue().replace("\n", "\r\n"))
    assert [row.strip() for row in screen.display if row.strip()] == ["word0", "word1"]


def test_rich_markup_and_links_are_text():
    stream = io.StringIO()
    with TerminalAnswer(stream, size=lambda: (80, 24)) as view:
        view.content("[red]x[/red] :smile: [a](http://b/c%20d) <http://e>")
        view.reasoning("[red]y[/red]")
    shown = stream.getvalue()
    assert "[red]x[/red] :smile: a (http://b/c%20d) http://e" in shown
    assert "\x1b]8" not in shown


def test_without_a_terminal_nobody_can_be_asked(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert ask("Run it?", ["yes", "no"]) is None
