"""A program in a terminal that a terminal emulator draws."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

from .test_command_line import ENVIRONMENT

SECONDS = 60


class EmulatedTerminal:
    """Runs a Python script of this folder.

    screen: what a user sees. text: that with what was scrolled away.
    """

    def __init__(
        self, script: str, *arguments: str, columns: int = 80, rows: int = 24, **environment: str
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=1)
        self._stream = pyte.ByteStream(self._screen)
        # An old terminal: the emulator does not wrap lines anew.
        variables = {"TERM": "xterm-256color", "XTERM_VERSION": "1"}
        self._process = pexpect.spawn(
            sys.executable,
            [str(Path(__file__).with_name(script)), *arguments],
            env=ENVIRONMENT | variables | environment,
            dimensions=(rows, columns),
            timeout=SECONDS,
        )
        self._screen.write_process_input = self.send  # it is asked where the cursor is
        self.received = b""

    @property
    def screen(self) -> list[str]:
        """The rows of the screen without those that are empty at its end."""
        return "\n".join(row.rstrip() for row in self._screen.display).rstrip().split("\n")

    @property
    def text(self) -> str:
        """All rows, those above the screen too."""
        above = (
            "".join(row[i].data for i in range(self._screen.columns)) for row in self._screen.history.top
        )
        return "\n".join([*(row.rstrip() for row in above), *self.screen])

    @property
    def styles(self) -> dict[str, set[str]]:
        """Of each style the characters on the screen that have it."""
        found: dict[str, set[str]] = {}
        for row in self._screen.buffer.values():
            for cell in row.values():
                for style in ("bold", "italics", "underscore"):
                    if getattr(cell, style):
                        found.setdefault(style, set()).add(cell.data)
                found.setdefault(cell.fg, set()).add(cell.data)
        return found

    def send(self, keys: str) -> None:
        """Type."""
        self._process.send(keys)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.sendintr()

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self._screen.resize(rows, columns)
        self._process.setwinsize(rows, columns)

    def wait_for(self, text: str) -> None:
        """Go on when a text is on the screen."""
        self.wait_until(lambda rows: text in "\n".join(rows))

    def wait_until(self, condition: Callable[[list[str]], bool]) -> None:
        """Go on when the screen is as it should be."""
        until = time.monotonic() + SECONDS
        while not condition(self.screen):
            assert time.monotonic() < until, self.text
            self._read()

    def wait_until_over(self) -> str:
        """Go on when the program has ended; gives all its text."""
        until = time.monotonic() + SECONDS
        while self._read():
            assert time.monotonic() < until, self.text
        self._process.close()
        assert self._process.exitstatus == 0, self.text
        return self.text

    def close(self) -> None:
        """End the program."""
        self._process.close(force=True)

    def _read(self) -> bool:
        try:
            data = self._process.read_nonblocking(100_000, timeout=0.05)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.received += data
        self._stream.feed(data)
        return True
