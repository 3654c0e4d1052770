"""Where glmq keeps files of its own: compiled kernels, the demo model, the chat history.

Compiled kernels are machine code that this process will run, so a folder in which another user could
put them is not used.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

from ..errors import GlmqError

GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """The cache folder, created: `$GLMQ_CACHE`, else the platform's usual place, else a temporary folder.

    Raises GlmqError when there is none in which only this user can write.
    """
    chosen = os.environ.get("GLMQ_CACHE")
    folder = Path(chosen).expanduser().absolute() if chosen else _platform_folder()
    try:
        _make(folder)
        if not chosen:
            _take_from_others(folder)
        status = folder.stat()
    except OSError:
        return _temporary_folder()
    if others_may_write(status):
        if chosen:
            raise _untrusted(folder, status)
        return _temporary_folder()
    return folder if os.access(folder, os.W_OK) else _temporary_folder()


def private_folder(name: str) -> Path:
    """A folder inside the cache folder, such as kernels/avx2, created, in which nobody else can write.

    Raises GlmqError.
    """
    folder = cache_folder()
    for part in Path(name).parts:
        folder = folder / part
        try:
            _make(folder)
            _take_from_others(folder)
            status = folder.stat()
        except OSError as error:
            raise GlmqError(
                f"{folder} cannot be used: {error.strerror}; set GLMQ_CACHE to another folder"
            ) from None
        if others_may_write(status):
            raise _untrusted(folder, status)
    return folder


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _take_from_others(folder: Path) -> None:
    """Forbid others to write to a folder of this user, which an easy-going umask has let them."""
    if sys.platform == "win32":
        return
    status = folder.stat()
    if others_may_write(status) and status.st_uid == os.getuid():
        folder.chmod(stat.S_IMODE(status.st_mode) & ~GROUP_OR_OTHERS_WRITE)


def others_may_write(status: os.stat_result) -> bool:
    """Whether somebody else than this user and the administrator can write to a file or folder.

    Always False on Windows, where the folders in question are the user's own. A group of the same number
    as its user is taken for that user's private one.
    """
    return _is_another_users(status) or lets_others_write(status)


def _is_another_users(status: os.stat_result) -> bool:
    return sys.platform != "win32" and status.st_uid not in (os.getuid(), 0)


def lets_others_write(status: os.stat_result) -> bool:
    """Whether the owner of a file or folder lets somebody else write to it. Always False on Windows."""
    if sys.platform == "win32":
        return False
    writers = status.st_mode & GROUP_OR_OTHERS_WRITE
    if status.st_gid == status.st_uid:
        writers &= ~stat.S_IWGRP
    return bool(writers)


def _temporary_folder() -> Path:
    """A folder of this user alone in the system's temporary folder, where others may have been before."""
    folder = Path(tempfile.gettempdir()).absolute() / f"glmq-{_user()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise GlmqError(
            f"no cache folder can be made: {folder}: {error.strerror}; set GLMQ_CACHE to a folder of yours"
        ) from None
    if not stat.S_ISDIR(status.st_mode) or _is_not_private(status):
        raise GlmqError(
            f"{folder} is not a private folder of yours, so kernels in it may be another user's;"
            " delete it or set GLMQ_CACHE to a folder of yours"
        )
    return folder


def _user() -> str:
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "cache")
    return str(os.getuid())


def _is_not_private(status: os.stat_result) -> bool:
    if sys.platform == "win32":
        return False
    return status.st_uid != os.getuid() or bool(status.st_mode & 0o077)


def _untrusted(folder: Path, status: os.stat_result) -> GlmqError:
    why = "belongs to another user" if _is_another_users(status) else "can be written by others"
    return GlmqError(
        f"{folder} {why}, so kernels in it may be theirs; take that permission away (chmod go-w)"
        " or set GLMQ_CACHE to a folder of yours"
    )


def _platform_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "glmq" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "glmq"
    return (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glmq").absolute()
