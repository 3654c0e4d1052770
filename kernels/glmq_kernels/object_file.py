"""Object files in the cache folder: whole or not there, whatever interrupts their writing.

A file holds the machine code and then a checksum of its name and of the code. What does not fit its
checksum, and what another user could have written, counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from .cache_folder import others_may_write

DIGEST_BYTES = hashlib.sha256().digest_size


def write_object(path: Path, code: bytes) -> None:
    """Write machine code; the file appears under its name only when it is complete. Raises OSError."""
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(code + _digest(path, code))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        # Windows refuses to replace a file that another process is just reading.
        if not isinstance(error, PermissionError) or read_object(path) is None:
            raise


def read_object(path: Path) -> bytes | None:
    """The machine code in a file, or None when it is not there, damaged or not to be trusted."""
    try:
        with open(path, "rb") as file:
            if others_may_write(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    code, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    return code if code and digest == _digest(path, code) else None


def _digest(path: Path, code: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + code).digest()
