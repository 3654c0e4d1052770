"""One file of a model, mapped read-only, and whether it still is what it was."""

from __future__ import annotations

import mmap
import os
import stat
import weakref
from pathlib import Path
from typing import Protocol

import numpy as np

from . import not_gguf
from .errors import GGUFError


class FileBytes(Protocol):
    """The bytes of one file of a model (see `MappedFile`)."""

    identity: str
    data: np.ndarray

    def check_unchanged(self) -> None:
        """Raise GGUFError when they are not what they were."""

    def close(self) -> None:
        """Let go of them."""


class MappedFile:
    """A file's bytes where they are mapped.

    Where a mapped file has become shorter, to touch what is missing ends the process, and where it has been
    written to, weights are no weights any more: so it is to be asked with `check_unchanged` before its bytes
    are used.

    data: uint8 (n,), read-only. identity: a string that tells the file's state from others.
    """

    def __init__(self, path: Path) -> None:
        """Map a file. Raises GGUFError, which says why, when that cannot be."""
        self.path = path
        self._absolute = os.path.abspath(path)
        try:
            # Asked before opening: to open a pipe would wait for its writer.
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise GGUFError(f"{path}: {not_gguf.what_folder_is(path)}")
            if not stat.S_ISREG(mode):
                raise GGUFError(f"{path}: a device or a pipe; name a GGUF file")
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._close = weakref.finalize(self, os.close, self._descriptor)
            status = os.fstat(self._descriptor)
            if status.st_size == 0:
                raise GGUFError(f"{path}: {not_gguf.what_it_is(b'')}")
            mapping = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise GGUFError(f"{path}: {not_gguf.what_is_missing(path)}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise GGUFError(f"{path}: cannot be read: {reason}") from None
        self.data: np.ndarray = np.frombuffer(mapping, np.uint8)
        self.identity = f"{self._absolute} {status.st_size} {status.st_mtime_ns}"
        self._state = _content_state(status)
        self._place = status.st_dev, status.st_ino

    def check_unchanged(self) -> None:
        """Raise GGUFError when the file is not what it was, or another one has its name.

        A file that is only deleted stays as it is until it is closed.
        """
        try:
            unchanged = _content_state(os.fstat(self._descriptor)) == self._state
        except OSError as error:
            raise GGUFError(f"{self.path} cannot be read: {error.strerror}; check the disk") from None
        try:
            named = os.stat(self._absolute)
        except OSError:
            pass
        else:
            unchanged = unchanged and (named.st_dev, named.st_ino) == self._place
        if not unchanged:
            raise GGUFError(f"{self.path} has changed while the model was in use; load it again")

    def close(self) -> None:
        """Let go of the file. The mapping ends when the last array that uses it is gone."""
        self.data = np.zeros(0, np.uint8)
        self._close()


def _content_state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
