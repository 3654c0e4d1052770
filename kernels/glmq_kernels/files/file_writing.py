"""The one way in which glmq writes files: whole or not at all, and never over what is something else.

A `Target` is checked before the work begins whose result it is to hold. `replacing` gives a hidden file
beside it, which takes its place in the end, so that whatever happens, the old file or the new one is there.

    symbolic links    are followed and stay; what they lead to is replaced
    owner and mode    stay those of the file that is replaced, where the system allows it
    refused           what is no regular file, folders that are not there, files that are write-protected or
                      have several names (hard links), and this program's own output
    existing files    are replaced where the caller knows them as its own kind, else only by force
    left over         a hidden file "….unfinished" of a process that was killed; the next writer of the same
                      file goes on with it or removes it
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from zlib import crc32

from ..errors import GlmqError
from .file_lock import try_lock

SUFFIX = ".unfinished"
_NAME_KEPT = 30
"""Characters of a file's name in the name of its unfinished one, which must not be too long for a disk."""

NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""What file systems say that cannot wait for their disk."""

_KINDS = {
    stat.S_IFDIR: "it is a folder; name a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
}


class FileExists(GlmqError):
    """A file is there already that only force replaces."""


@dataclass(frozen=True)
class Kind:
    """A kind of files that may be replaced by others of it.

    name: such as "a saved conversation". recognises: whether a file is one; OSError and ValueError mean no.
    """

    name: str
    recognises: Callable[[Path], bool]


@dataclass(frozen=True)
class Target:
    """A file to be written.

    path: as it was named. file: the same, its links followed. before: the status of what is
    there, if anything. force: whether it is replaced whatever comes there meanwhile.
    """

    path: Path
    file: Path
    before: os.stat_result | None
    force: bool = False


def check_target(path: Path, kind: Kind | None = None, *, force: bool = False) -> Target:
    """Find out that a file can be written, and whether it may be.

    A file that is there may be replaced when it is empty, of the `kind`, or by `force`.
    Raises FileExists when it may not, GlmqError when it cannot be written.
    """
    try:
        before = status_of(path)
        target = Target(path, followed(path, before), before, force)
        if before and not force:
            _check_replaceable(target, before, kind)
        unfinished, file = _create(target.file, 0o600)
        file.close()
        unfinished.unlink()
    except OSError as error:
        raise cannot_be_written(path, error) from None
    return target


def check_is_not_read(target: Target, files: Iterable[Path]) -> None:
    """Raise GlmqError where the file to be written is one of those that its content is made from."""
    for file in files:
        with suppress(OSError):
            if target.before and os.path.samestat(target.before, os.stat(file)):
                raise GlmqError(f"{target.path} is a file of the source; name another one for the result")


def cannot_be_written(path: Path, error: OSError) -> GlmqError:
    """What the system says, in a line."""
    return GlmqError(f"{path} cannot be written: {error.strerror or error}")


def status_of(path: Path) -> os.stat_result | None:
    """The status of the regular file that a path leads to; None when nothing is there.

    Raises GlmqError when it is something else or its folder is not there, and what the system raises.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise GlmqError(
                f"{path} cannot be written: there is no folder {folder}; create it first"
            ) from None
        return None
    except NotADirectoryError:
        raise GlmqError(f"{path} cannot be written: a part of the path is a file, not a folder") from None
    except ValueError:
        raise GlmqError(f"{str(path)!r} is not a name that a file can have") from None
    if not stat.S_ISREG(status.st_mode):
        raise GlmqError(
            f"{path} cannot be written: {_KINDS.get(stat.S_IFMT(status.st_mode), 'it is no file')}"
        )
    if any(os.path.samestat(status, mine) for mine in _own_output()):
        raise GlmqError(f"{path} cannot be written: what this program prints goes there; name another file")
    return status


def followed(path: Path, status: os.stat_result | None) -> Path:
    """The file that a path leads to by its symbolic links."""
    file = Path(os.path.realpath(path))
    try:
        found = os.stat(file)
    except FileNotFoundError:
        found = None
    if (found and (found.st_dev, found.st_ino)) != (status and (status.st_dev, status.st_ino)):
        raise GlmqError(f"{path} cannot be written: no folder holds the file that it leads to")
    return file


def check_unprotected(path: Path, status: os.stat_result) -> None:
    """Raise GlmqError for a file whose mode says that nobody is to write it."""
    if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        raise GlmqError(f"{path} cannot be written: it is write-protected")


def _own_output() -> Iterator[os.stat_result]:
    for descriptor in (1, 2):
        with suppress(OSError):
            yield os.fstat(descriptor)


def _check_replaceable(target: Target, before: os.stat_result, kind: Kind | None) -> None:
    check_unprotected(target.path, before)
    if before.st_nlink > 1:
        raise FileExists(
            f"{target.path} has {before.st_nlink} names (hard links), which writing would part;"
            " name another file"
        )
    if before.st_size and not (kind and _is(kind, target.file)):
        what = f" and is not {kind.name}" if kind else ""
        raise FileExists(f"{target.path} is there already{what}; name another file")


def _is(kind: Kind, file: Path) -> bool:
    try:
        return kind.recognises(file)
    except (OSError, ValueError, RecursionError):
        return False


def write_file(target: Target, content: bytes) -> None:
    """Write a file whole or not at all. Raises GlmqError, in one line, when that is not possible."""
    try:
        with replacing(target) as unfinished, open(unfinished, "wb") as file:
            file.write(content)
    except OSError as error:
        raise cannot_be_written(target.path, error) from None


@contextmanager
def replacing(target: Target, *, private: bool = False) -> Iterator[Path]:
    """A hidden, empty file beside the target that takes its place when the block ends well, else goes.

    private: a file that was not there before is for its owner alone.
    Raises FileExists when something came to the target's place meanwhile, and what the system raises.
    """
    with replacing_open(target, private=private) as (unfinished, _):
        yield unfinished


@contextmanager
def replacing_open(
    target: Target, *, private: bool = False, left_over: Path | None = None, keep: bool = False
) -> Iterator[tuple[Path, FileIO]]:
    """The same, with the file open and locked. A duplicate of its descriptor keeps the lock.

    left_over: what another writer of the target has left, to go on with. keep: leave the hidden file there
    when the block fails, for a later writer to go on with.
    Raises GlmqError when another writer is at work on what is left over.
    """
    if left_over:
        unfinished, file = left_over, _reopen(left_over)
    remove_left_over(target.file)
    if not left_over:
        unfinished, file = _create(target.file, 0o600 if private or target.before else 0o666)
    try:
        try:
            yield unfinished, file
            flush(unfinished)
            if target.before:
                _take_over(unfinished, target.file, target.before)
            _check_unchanged(target)
        finally:
            if sys.platform == "win32":  # where open files keep their names
                file.close()
        os.replace(unfinished, target.file)
    except BaseException:
        if not keep:
            with suppress(OSError):
                unfinished.unlink()
        raise
    finally:
        file.close()
    flush_folder(target.file.parent)


def hidden_beside(file: Path, ending: str) -> Path:
    """A hidden file that belongs to another, whatever the length of its name."""
    name = file.name
    return file.with_name(f".{name[:_NAME_KEPT]}.{crc32(os.fsencode(name)):08x}{ending}")


def _create(file: Path, mode: int) -> tuple[Path, FileIO]:
    """A new hidden file beside another, locked as long as it is open."""
    while True:
        unfinished = hidden_beside(file, f".{secrets.token_hex(4)}{SUFFIX}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with suppress(FileExistsError):
            opened = FileIO(os.open(unfinished, flags, mode), "r+")
            if try_lock(opened) and os.fstat(opened.fileno()).st_nlink:
                return unfinished, opened
            opened.close()  # somebody took it for left over


def _reopen(unfinished: Path) -> FileIO:
    """A hidden file that was left over, locked as long as it is open."""
    file = FileIO(unfinished, "r+")
    if not try_lock(file):
        file.close()
        raise GlmqError(f"{unfinished} is being written by another process; wait for it")
    return file


def _unfinished_files(file: Path) -> Iterator[tuple[Path, bool]]:
    """Hidden files of writers of a file, and whether the writer is still there."""
    beginning = hidden_beside(file, "").name
    for unfinished in file.parent.glob(f"{glob.escape(beginning)}.{'[0-9a-f]' * 8}{SUFFIX}"):
        with suppress(OSError), open(unfinished, "r+b", buffering=0) as opened:
            yield unfinished, not try_lock(opened)


def remove_left_over(file: Path) -> None:
    """Remove what writers of a file left that were killed."""
    if sys.platform != "win32":  # where a file that is being written is not locked all the time
        for unfinished, alive in _unfinished_files(file):
            if not alive:
                with suppress(OSError):
                    unfinished.unlink()


def is_locked(file: Path) -> bool:
    """Whether a hidden file that is there belongs to a writer at work. Raises OSError."""
    with open(file, "r+b", buffering=0) as opened:
        return not try_lock(opened)


def is_being_written(target: Target) -> bool:
    """Whether another writer is at work on the same file."""
    return any(alive for _, alive in _unfinished_files(target.file))


def write_all(file: FileIO, content: bytes | memoryview) -> None:
    """Write bytes at a file's position, all of them."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with open(path, "r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_FSYNC:
                raise


def flush_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _take_over(unfinished: Path, file: Path, before: os.stat_result) -> None:
    """Give a new file the owner, the access rights and the user's attributes of the old one.

    It runs as nobody else, though, as a file does not that is written.
    """
    if sys.platform != "win32":
        with suppress(OSError):
            os.chown(unfinished, -1, before.st_gid)
        with suppress(OSError):
            os.chown(unfinished, before.st_uid, -1)
    if sys.platform == "linux":
        with suppress(OSError):
            for name in os.listxattr(file):
                if name.startswith("user.") or name == "system.posix_acl_access":
                    os.setxattr(unfinished, name, os.getxattr(file, name))
    os.chmod(unfinished, before.st_mode & 0o777)


def _check_unchanged(target: Target) -> None:
    try:
        now = os.lstat(target.file)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(now.st_mode) or not (
        target.force or (target.before and _same_content(target.before, now))
    ):
        raise FileExists(f"{target.path} was written by another program meanwhile; name another file")


def _same_content(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and (one.st_size, one.st_mtime_ns) == (
        other.st_size,
        other.st_mtime_ns,
    )
