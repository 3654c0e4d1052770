"""The last lines of a terminal, redrawn while they change; what is finished stays above them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TextIO

BEGIN_UPDATE, END_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know synchronized output show what is between them at once; others pass over them."""
CLEAR_ROW, CLEAR_ROW_ABOVE = "\r\x1b[K", "\x1b[A\x1b[K"
"""Rows are cleared one by one: at a command that clears all of the screen some terminals scroll it away."""


@dataclass(frozen=True)
class Line:
    """A line with the codes of its colours, and its bare text."""

    coded: str
    text: str


class LiveRegion:
    """Lines that are shown once, and after them lines that may still change.

    The cursor is at the end of the last changing line, or at the start of an empty row when there is none.

    size: columns and rows of the terminal. reflows: whether it wraps its lines anew when it becomes narrower.
    """

    def __init__(self, stream: TextIO, size: Callable[[], tuple[int, int]], reflows: bool = True) -> None:
        self.size = size
        self._stream, self._reflows = stream, reflows
        self._shown: list[Line] = []
        self._drawn_size = size()

    def update(self, finished: Sequence[Line], changing: Sequence[Line] = ()) -> None:
        """Add finished lines and replace the changing ones. Of the latter those are shown that fit."""
        columns, rows = size = self.size()
        changing = _last_that_fit(changing, columns, rows - 1)
        lines = [*finished, *changing]
        n_kept = _n_equal(self._shown, lines) if size == self._drawn_size else 0
        if n_kept == len(lines) < len(self._shown):
            n_kept = max(0, n_kept - 1)  # the cursor goes to the end of this line by writing it again
        code = self._to_line(n_kept, columns)
        if n_kept == len(self._shown) > 0 and lines[n_kept:]:
            code += "\n"
        code += "\n".join(line.coded for line in lines[n_kept:])
        if lines and not changing:
            code += "\n"
        self._shown, self._drawn_size = list(changing), size
        if code:
            self.write(BEGIN_UPDATE + code + END_UPDATE)

    def write(self, text: str) -> None:
        """Write to the terminal where the cursor is."""
        self._stream.write(text)
        self._stream.flush()

    def _to_line(self, n: int, columns: int) -> str:
        """Move to the start of a line that is shown, and clear from there; nothing where it is after all."""
        if n >= len(self._shown):
            return ""
        wrapped_at = columns if self._reflows else self._drawn_size[0]
        up = sum(n_rows(line.text, wrapped_at) for line in self._shown[n:]) - 1
        return CLEAR_ROW + CLEAR_ROW_ABOVE * up


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Columns and rows of the terminal that a stream goes to; 80 and 24 where it does not say."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except OSError:
        columns, rows = 0, 0
    return columns or 80, rows or 24


def reflows() -> bool:
    """Whether the terminal wraps long lines anew on a change of its width: all do but a few old ones."""
    return "XTERM_VERSION" not in os.environ and os.environ.get("TERM") != "linux"


def n_rows(text: str, columns: int) -> int:
    """How many rows of a terminal a line takes. A wide character does not begin in the last column."""
    from rich.cells import cell_len

    if cell_len(text) <= columns:
        return 1
    rows, column = 1, 0
    for character in text:
        width = cell_len(character)
        if column + width > columns:
            rows, column = rows + 1, 0
        column += width
    return rows


def _last_that_fit(lines: Sequence[Line], columns: int, rows: int) -> list[Line]:
    """The last lines, as many as the rows take. Of one that takes several rows the last may be shown."""
    fitting: list[Line] = []
    for line in reversed(lines):
        fitting[:0] = _rows(line, columns)
        if len(fitting) >= rows:
            break
    return fitting[-max(1, rows) :]


def _rows(line: Line, columns: int) -> list[Line]:
    """A line as lines of a row each; bare text where it takes several."""
    from rich.cells import cell_len, chop_cells

    if cell_len(line.text) <= columns:
        return [line]
    return [Line(row, row) for row in chop_cells(line.text, columns)]


def _n_equal(shown: Sequence[Line], lines: Sequence[Line]) -> int:
    """How many lines at the beginning are the same."""
    n = 0
    while n < min(len(shown), len(lines)) and shown[n] == lines[n]:
        n += 1
    return n


@contextmanager
def interrupted_later() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, which would leave the terminal half drawn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[FrameType | None] = []
    handler = signal.signal(signal.SIGINT, lambda _, frame: received.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if received and callable(handler):
        handler(signal.SIGINT, received[0])


@contextmanager
def without_echo(stream: TextIO) -> Iterator[None]:
    """Keep what is typed meanwhile from being shown among the lines; it can be read afterwards."""
    if sys.platform == "win32":
        yield
        return
    import termios

    try:
        descriptor = stream.fileno()
        attributes = termios.tcgetattr(descriptor)
    except (OSError, termios.error):  # no terminal
        yield
        return
    silent = attributes.copy()
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
