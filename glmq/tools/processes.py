"""Processes that run tools: started in a group of their own, ended with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import IO

MAX_OUTPUT = 16 << 20
"""Bytes of output after which a tool is stopped."""

TAIL = 4000
"""Bytes kept of standard error, its last."""


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what of its group is left, and wait for its end."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


class Output(Thread):
    """Reads a pipe to its end, from the start: its first `limit` bytes. More than that is `too_much`."""

    def __init__(self, pipe: IO[bytes], limit: int, when_too_much: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.kept = bytearray()
        self.too_much = False
        self._pipe, self._limit, self._when_too_much = pipe, limit, when_too_much
        self.start()

    def run(self) -> None:
        """Read until the last process has closed the pipe."""
        with self._pipe:
            while data := os.read(self._pipe.fileno(), 1 << 16):
                room = self._limit - len(self.kept)
                self.kept += data[:room]
                if len(data) > room and not self.too_much:
                    self.too_much = True
                    self._when_too_much()


class Tail(Thread):
    """Reads a pipe to its end and keeps the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._kept = b""
        self._pipe = pipe
        self.start()

    def run(self) -> None:
        """Read until the last process has closed the pipe."""
        with self._pipe:
            while data := os.read(self._pipe.fileno(), 1 << 16):
                self._kept = (self._kept + data)[-TAIL:]

    def text(self) -> str:
        """What is kept, as text; waits a moment for what is on its way."""
        self.join(0.5)
        return self._kept.decode("utf-8", "replace").strip()
