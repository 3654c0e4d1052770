"""Locks on open files, which end with the process that has them, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from io import FileIO
from pathlib import Path

_LOCKED = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What the systems say of a file that another has locked; anything else means that there are no locks."""

_BEYOND_ANY_FILE = 2**62
"""The byte that Windows locks: its locks keep others from reading, too."""


def try_lock(file: FileIO) -> bool:
    """Lock a file for this open file alone; False when another open file has the lock.

    The lock ends when the file is closed. Where the file system knows no locks, nothing is locked and the
    answer is True.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            position = file.tell()
            file.seek(_BEYOND_ANY_FILE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            finally:
                file.seek(position)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _LOCKED
    return True


def lock_owner(file: FileIO) -> int | None:
    """The id of the process that has a file locked, where the system tells it (Linux does)."""
    if sys.platform != "linux":
        return None
    try:
        table = Path("/proc/locks").read_text()
    except OSError:
        return None
    status = os.fstat(file.fileno())
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in table.splitlines():
        fields = line.split()  # number, FLOCK, ADVISORY, WRITE, process, device and file, first, last byte
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == place and int(fields[4]) > 0:
            return int(fields[4])
    return None
