"""A file without a name: whoever has no descriptor of it cannot open it, and it goes with the process.

On Windows it has a name, and goes when it is closed.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import threading
import weakref
from pathlib import Path

BLOCK = 4096
"""Of places in the file, of lengths and of memory, where reads and writes go past the file cache."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FLAGS |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_TEMPORARY", 0)


class UnnamedFile:
    """A new file in a folder, for its owner alone. Raises OSError where there cannot be one.

    It may be read and written by several threads at once, and is closed when nobody holds it any more: so
    no thread reads what has taken its descriptor's number. is_direct: whether reads and writes go past the
    system's file cache, which mapped weights may need more.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / f".glmq-{secrets.token_hex(8)}.pages"
        self._descriptor = os.open(path, _FLAGS, 0o600)
        weakref.finalize(self, os.close, self._descriptor)
        self._position = threading.Lock()
        if sys.platform != "win32":
            path.unlink()
        self.is_direct = _go_past_the_cache(self._descriptor)

    def read(self, position: int, buffer: memoryview) -> bool:
        """Fill a buffer; whether the file is long enough. Raises OSError."""
        n = self._read_some(position, buffer)
        while 0 < n < len(buffer):
            position, buffer = position + n, buffer[n:]
            n = self._read_some(position, buffer)
        return n == len(buffer)

    def write(self, position: int, buffer: memoryview) -> None:
        """Write all of a buffer. Raises OSError."""
        while buffer:
            n = self._write_some(position, buffer)
            position, buffer = position + n, buffer[n:]

    if sys.platform == "win32":

        def _read_some(self, position: int, buffer: memoryview) -> int:
            with self._position:
                os.lseek(self._descriptor, position, os.SEEK_SET)
                found = os.read(self._descriptor, len(buffer))
            buffer[: len(found)] = found
            return len(found)

        def _write_some(self, position: int, buffer: memoryview) -> int:
            with self._position:
                os.lseek(self._descriptor, position, os.SEEK_SET)
                return os.write(self._descriptor, buffer)

    else:

        def _read_some(self, position: int, buffer: memoryview) -> int:
            return os.preadv(self._descriptor, [buffer], position)

        def _write_some(self, position: int, buffer: memoryview) -> int:
            return os.pwrite(self._descriptor, buffer, position)


def _go_past_the_cache(descriptor: int) -> bool:
    """Whether reads and writes go past the system's file cache from now on."""
    if sys.platform == "win32":
        return False
    import fcntl

    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
        return False
    if sys.platform != "linux":
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    block = mmap.mmap(-1, BLOCK)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        os.pwrite(descriptor, block, 0)
        os.preadv(descriptor, [block], 0)
    except OSError:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        return False
    return True
