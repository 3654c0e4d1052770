"""A session file that one writer has for itself, by a lock on the file that ends with the process."""

from __future__ import annotations

import os
import sys
import time
from io import FileIO
from pathlib import Path

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_lock import lock_owner, try_lock
from glmq_kernels.files.file_writing import Target, cannot_be_written, check_unprotected, followed, status_of

POLL_SECONDS = 0.02


class SessionLock:
    """The open and locked file at a path from now on until `close`; it is created where none is.

    path: as it was named. file: open for reading and writing. target: the file, its links followed.
    """

    def __init__(self, path: Path, patience: float) -> None:
        """Wait `patience` seconds for another writer. Raises GlmqError where the file cannot be written."""
        self.path = path
        self._created = False
        try:
            self.target, self.file = self._open(time.monotonic() + patience)
        except OSError as error:
            raise cannot_be_written(path, error) from None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def n_names(self) -> int:
        """How many hard links lead to the file."""
        return os.fstat(self.file.fileno()).st_nlink

    def is_in_place(self) -> bool:
        """Whether the path still leads to the file, which nobody has moved, deleted or replaced."""
        return not self.file.closed and _leads_to(self.path, self.file)

    def place(self) -> Target:
        """Where a new file goes that takes this one's place."""
        return Target(self.path, self.target, os.fstat(self.file.fileno()), force=True)

    def go_on_with(self, file: FileIO | None) -> None:
        """Keep another file, which has taken this one's place, in its stead; None: open it."""
        self.file.close()
        if file is None:
            self.target, file = self._open(time.monotonic())
        self.file = file

    def close(self) -> None:
        """Let others have the file. One that was created and never written goes."""
        if self.file.closed:
            return
        if self._created and not self.size and self.is_in_place():
            self.target.unlink(missing_ok=True)
        self.file.close()

    def _open(self, deadline: float) -> tuple[Path, FileIO]:
        while True:
            status = status_of(self.path)
            if status:
                check_unprotected(self.path, status)
            try:
                target = followed(self.path, status)
            except GlmqError:
                if _number_of(status) == _number_of(status_of(self.path)):
                    raise
                continue  # another file has taken its place at this very moment
            file = self._open_or_create(target)
            if file is None:
                continue
            is_mine = try_lock(file)
            if is_mine and _leads_to(self.path, file):
                return target, file
            owner = None if is_mine else lock_owner(file)
            file.close()
            if not is_mine and time.monotonic() >= deadline:
                raise GlmqError(
                    f"{self.path} is in use by {_who(owner)}; end that conversation, or name another file"
                )
            time.sleep(POLL_SECONDS)

    def _open_or_create(self, target: Path) -> FileIO | None:
        """None where the file went at this very moment."""
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(target, flags | os.O_CREAT | os.O_EXCL, 0o600)
            self._created = True
        except FileExistsError:
            try:
                descriptor = os.open(target, flags)
            except FileNotFoundError:
                return None
        return FileIO(descriptor, "r+")


def duplicate(file: FileIO) -> FileIO | None:
    """The same open file, with its lock, for as long as somebody wants it.

    None on Windows, where open files cannot be renamed.
    """
    return None if sys.platform == "win32" else FileIO(os.dup(file.fileno()), "r+")


def _number_of(status: os.stat_result | None) -> tuple[int, int] | None:
    return (status.st_dev, status.st_ino) if status else None


def _leads_to(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


def _who(owner: int | None) -> str:
    if owner == os.getpid():
        return "another conversation of this program"
    return f"process {owner}" if owner else "another process"
