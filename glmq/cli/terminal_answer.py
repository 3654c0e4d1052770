"""An answer in a terminal: what changes is redrawn in place, what is finished is scrolled away for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TextIO

from rich.console import Console, ConsoleDimensions
from rich.theme import Theme

from .answer_view import AnswerView, Arguments, Thinking
from .live_region import Line, LiveRegion, interrupted_later, reflows, terminal_size, without_echo
from .markdown_lines import STYLES, markdown_lines, text_lines
from .markdown_stream import MarkdownStream
from .terminal import neutral
from .thinking_view import ThinkingView
from .tool_lines import call_line, result_lines

SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.04, 1.0
COST_SHARE = 1 / 16
"""Drawing may take this share of the time, and between these intervals (seconds) is done as often."""


class TerminalAnswer(AnswerView):
    """Markdown, dim thinking that is folded when it ends, and a line for each tool call.

    size: columns and rows, by default those of the stream's terminal. clock: gives seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        markdown: bool = True,
        thinking: Thinking = "folded",
        size: Callable[[], tuple[int, int]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._markdown, self._clock = stream, markdown, clock
        self._region = LiveRegion(stream, size or (lambda: terminal_size(stream)), reflows())
        self._console = Console(
            file=stream, force_terminal=True, theme=Theme(STYLES), highlight=False, markup=False, emoji=False
        )
        self._thinking = ThinkingView(thinking, clock)
        self._content = MarkdownStream()
        self._call = ("", "")
        self._part = ""
        self._n_calls = 0
        self._first_block = True
        self._at_line_start = True
        self._next_drawing = 0.0
        self._cleanup = ExitStack()

    def __enter__(self) -> AnswerView:
        self._cleanup.enter_context(without_echo(self._stream))
        return self

    def reasoning(self, text: str, n_tokens: int = 1) -> None:
        """Show the thinking as the mode asks for."""
        with interrupted_later():
            if self._part != "thinking" and not text.strip():
                return
            self._begin("thinking")
            self._thinking.feed(neutral(text), n_tokens)
            self._draw_when_due()

    def content(self, text: str) -> None:
        """Show a piece of the answer, Markdown block by block."""
        with interrupted_later():
            if self._part != "content" and not (text := text.lstrip("\n")):
                return
            self._begin("content")
            if self._markdown:
                self._content.feed(neutral(text))
                self._draw_when_due()
            else:
                self._at_line_start = text.endswith("\n")
                self._region.write(neutral(text))

    def tool_call(self, name: str, text: str) -> None:
        """Show the last of what the model writes, in one line."""
        with interrupted_later():
            if self._part != "call":
                self._call = (name, "")
            self._begin("call")
            self._call = (name, (self._call[1] + text)[-1000:])
            self._draw_when_due()

    def tool_call_end(
        self, name: str, arguments: Arguments, problem: str | None = None, *, asked: bool = False
    ) -> None:
        """Show the call in one line."""
        with interrupted_later():
            self._begin("call")
            lines = [] if asked else self._one_line(f"● {call_line(name, arguments)}", "bold")
            if problem:
                lines += self._text_lines(problem, "yellow", indent=2)
            self._region.update(lines)
            self._part = "asked" if asked else "called"
            self._n_calls += 1

    def tool_result(self, name: str, text: str, failed: bool = False) -> None:
        """Show the first lines of a result."""
        with interrupted_later():
            self._begin("result")
            style = "red" if failed else "dim"
            shown = result_lines(neutral(text), failed, name if self._n_calls > 1 else "")
            self._region.update([row for line in shown for row in self._one_line(f"  {line}", style)])

    def remark(self, text: str) -> None:
        """Show it in lines of its own, between what there is and what comes."""
        with interrupted_later():
            self._begin("remark")
            self._region.update(self._text_lines(f"[{text}]", "yellow"))

    def end(self) -> None:
        """Show all that came, and give the terminal back."""
        try:
            with interrupted_later():
                self._finish()
                self._part = ""
        finally:
            self._cleanup.close()

    def _begin(self, part: str) -> None:
        """Finish what was shown before another part begins; an empty line is between them."""
        if part == self._part:
            return
        self._finish()
        if part != "result" and self._part == "result":
            self._n_calls = 0
        is_result_of_call = part == "result" and self._part == "called"
        if self._part and not (is_result_of_call or self._part == "asked"):
            self._region.update([Line("", "")])
        self._part = part
        self._next_drawing = 0.0

    def _finish(self) -> None:
        if self._part == "thinking":
            self._region.update(self._thinking.end(self._sized_console()))
            if not self._thinking.leaves_lines:
                self._part = ""
        elif self._part == "content" and self._markdown:
            self._region.update(self._block_lines(final=True))
            self._first_block = True
        elif self._part == "content" and not self._at_line_start:
            self._region.write("\n")
            self._at_line_start = True
        elif self._part == "call":
            self._region.update(self._one_line(f"○ {self._call[0]}: stopped", "dim"))

    def _draw_when_due(self) -> None:
        begun = self._clock()
        if begun < self._next_drawing:
            return
        self._draw()
        cost = self._clock() - begun
        self._next_drawing = begun + min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, cost / COST_SHARE))

    def _draw(self) -> None:
        if self._part == "thinking":
            self._region.update(*self._thinking.lines(self._sized_console()))
        elif self._part == "call":
            name, text = self._call
            self._region.update([], self._one_line(f"○ {name} ", "dim", end_of=text))
        else:
            finished = self._block_lines(final=False)
            pieces = self._content.rest()
            self._region.update(finished, markdown_lines(self._console, pieces, self._first_block))

    def _block_lines(self, final: bool) -> list[Line]:
        pieces = self._content.end() if final else self._content.finished()
        lines = markdown_lines(self._sized_console(), pieces, self._first_block)
        self._first_block = self._first_block and not pieces
        return lines

    def _sized_console(self) -> Console:
        """The console at the terminal's present size, but for a column: terminals differ about widths."""
        columns, rows = self._region.size()
        self._console.size = ConsoleDimensions(max(1, columns - 1), rows)
        return self._console

    def _text_lines(self, text: str, style: str, indent: int = 0) -> list[Line]:
        return text_lines(self._sized_console(), text, style, indent)

    def _one_line(self, text: str, style: str, end_of: str = "") -> list[Line]:
        """A text cut to the width. Of `end_of`, which follows, the last characters are shown."""
        from rich.cells import cell_len, set_cell_size

        width = self._sized_console().width
        line = neutral(text).replace("\t", " ").replace("\n", " ")
        free = width - cell_len(line)
        if end_of and free > 1:
            tail = " ".join(end_of.split())
            line += tail if cell_len(tail) <= free else "…" + set_cell_size(tail[::-1], free - 1)[::-1]
        elif cell_len(line) > width:
            line = set_cell_size(line, max(0, width - 1)) + "…"
        return self._text_lines(line, style)
