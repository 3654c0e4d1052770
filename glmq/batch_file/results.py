"""The file of results. It grows by whole lines, so that it is sound whatever ends the program."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_lock import lock_owner, try_lock
from glmq_kernels.files.file_writing import (
    NO_FSYNC,
    FileExists,
    cannot_be_written,
    check_unprotected,
    followed,
    status_of,
)

from .requests import ID_START


@dataclass(frozen=True)
class Found:
    """A result that is there already, without its body. is_answer: whether it is no error."""

    id: str
    custom_id: str | None
    is_answer: bool


SYNC_SECONDS = 0.5
"""How often what was written is brought to the disk. What ends the program alone takes nothing of it."""

_START = json.dumps({"id": ID_START}, separators=(",", ":"))[:-2].encode()
"""How each line begins."""


class Results(Protocol):
    """Where results go."""

    def append(self, result: dict[str, Any]) -> None:
        """Take a result."""


class PrintedResults:
    """Results on standard output."""

    def append(self, result: dict[str, Any]) -> None:
        """Print a result."""
        sys.stdout.buffer.write(result_line(result))
        sys.stdout.buffer.flush()


class ResultFile:
    """The results at a path, which this program alone adds to until `close`.

    ids: those that results may have here. force: whether a file that is something else is overwritten.
    found: the results that are there. A last line that is not whole does not count.
    Raises GlmqError where the file cannot be written, FileExists where it is something else.
    """

    def __init__(self, path: Path, ids: Collection[str], *, force: bool = False) -> None:
        self.path = path
        self.found: list[Found] = []
        self._n_results = 0
        self._synced = time.monotonic()
        self._is_new = not path.exists()
        self._file = _open(path)
        try:
            self._lock()
            self._size = self._read(ids, force=force)
            self._n_results = len(self.found)
            self._go_to_end()
        except OSError as error:
            self._file.close()
            raise cannot_be_written(path, error) from None
        except BaseException:
            self._file.close()
            raise

    def append(self, result: dict[str, Any]) -> None:
        """Add a result, whole or not at all. Raises GlmqError where the disk takes no more."""
        line = result_line(result)
        try:
            left = memoryview(line)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with suppress(OSError):
                self._go_to_end()
            told = cannot_be_written(self.path, error)
            raise GlmqError(
                f"{told}; {self._n_results} results are in it, and the same command goes on behind them"
            ) from None
        self._size += len(line)
        self._n_results += 1
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Bring all to the disk, and let others have the file. A new one without results goes."""
        try:
            self._sync()
            if self._is_new and not self._size:
                self.path.unlink(missing_ok=True)
        finally:
            self._file.close()

    def _sync(self) -> None:
        self._synced = time.monotonic()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno not in NO_FSYNC:
                raise cannot_be_written(self.path, error) from None

    def _go_to_end(self) -> None:
        """Drop what does not count."""
        self._file.truncate(self._size)
        self._file.seek(self._size)

    def _lock(self) -> None:
        if not try_lock(self._file):
            owner = lock_owner(self._file)
            who = f"process {owner}" if owner else "another process"
            raise GlmqError(f"{self.path} is being written by {who}; wait for it, or name another file")

    def _read(self, ids: Collection[str], *, force: bool) -> int:
        """Find the results; gives the size of what counts."""
        size = 0
        try:
            with open(self._file.fileno(), "rb", closefd=False) as file:
                for line in file:
                    if not line.endswith(b"\n") and _is_part(line):
                        break
                    self.found.append(self._read_line(line, ids))
                    size += len(line)
        except FileExists:
            if not force:
                raise
            self.found.clear()
            return 0
        return size

    def _read_line(self, line: bytes, ids: Collection[str]) -> Found:
        try:
            result = json.loads(line)
        except (ValueError, RecursionError):
            result = None
        if not isinstance(result, dict) or not str(result.get("id")).startswith(ID_START):
            raise FileExists(f"{self.path} is there already and does not hold results; name another file")
        custom_id = result.get("custom_id")
        if result["id"] not in ids:
            raise FileExists(
                f"{self.path} holds results of other requests, such as {json.dumps(custom_id)[:100]};"
                " name another file"
            )
        return Found(result["id"], custom_id, is_answer(result))


def _open(path: Path) -> FileIO:
    try:
        status = status_of(path)
        if status:
            check_unprotected(path, status)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        return FileIO(os.open(followed(path, status), flags, 0o666), "r+")
    except OSError as error:
        raise cannot_be_written(path, error) from None


def _is_part(line: bytes) -> bool:
    """Whether this is the start of a result, or what file systems make of one when the power fails."""
    n = min(len(line), len(_START))
    return line[:n] == _START[:n] or not line.strip(b"\x00")


def result_line(result: dict[str, Any]) -> bytes:
    """A result as it stands in the file."""
    return json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def is_answer(result: dict[str, Any]) -> bool:
    """Whether a result is no error."""
    response = result.get("response")
    return isinstance(response, dict) and response.get("status_code") == 200
