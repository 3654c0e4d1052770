"""Object files in the cache folder: whole or not there, whatever interrupts their writing.

A file holds the machine code and then a checksum of its name and of the code. What does not fit its
checksum, and what another user could have written, counts as not there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from ..files.file_writing import FileExists, Target, replacing
from .cache_folder import others_may_write

DIGEST_BYTES = hashlib.sha256().digest_size


def write_object(path: Path, code: bytes) -> None:
    """Write machine code; the file appears under its name only when it is complete. Raises OSError."""
    if path.is_symlink():
        path.unlink()
    try:
        with replacing(Target(path, path, before=None, force=True), private=True) as unfinished:
            unfinished.write_bytes(code + _digest(path, code))
    except FileExists:
        raise OSError(errno.EEXIST, f"{path.name} is there and is no file") from None
    except PermissionError:
        # Windows refuses to replace a file that another process is just reading.
        if read_object(path) is None:
            raise


def read_object(path: Path) -> bytes | None:
    """The machine code in a file, or None when it is not there, damaged or not to be trusted."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or others_may_write(status):
                return None
            content = file.read()
    except OSError:
        return None
    code, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    return code if code and digest == _digest(path, code) else None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for a writer, as pipes do."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _digest(path: Path, code: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + code).digest()
