"""One file of the Hub into the cache: whole and checked, or as much of it as came, to go on from there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from .cache import blob_path, incomplete_path, lock_path
from .model_choice import RepoFile
from .remote_file import RemoteFile, Stopped

if TYPE_CHECKING:
    from hashlib import _Hash

CONNECTIONS = 4
PIECE_BYTES = 8 << 20
"""Asked for at once: enough for speed, few enough that an interrupted download loses little."""

READ_BYTES = 1 << 20
Received = Callable[[int], None]
"""Is told how many bytes have come; less than none where bytes are to be fetched again."""


def download(remote: RemoteFile, received: Received, waiting: Callable[[], None] = lambda: None) -> Path:
    """Download a file to its place among the cache's blobs, going on where an earlier download ended.

    received(n) counts what has come, what is there from before included. waiting() is called now and then
    while another program downloads the same. Raises GlmqError; what has come is kept unless it is wrong.
    """
    blob = blob_path(remote.repo, remote.file)
    unfinished = incomplete_path(remote.repo, remote.file)
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lock_path(remote.repo, remote.file), waiting):
            if blob.is_file():  # another program was faster
                received(remote.file.size)
                return blob
            digest = _fetch(remote, unfinished, received)
            if digest != remote.file.etag:
                unfinished.unlink()
                raise GlmqError(
                    f"{remote.name} has come with a wrong checksum and was thrown away; download it again"
                )
            os.replace(unfinished, blob)
    except OSError as error:
        raise _cannot_be_kept(unfinished, error) from None
    return blob


def _cannot_be_kept(path: Path, error: OSError) -> GlmqError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return GlmqError(
            f"there is no room left in {path.parent} ({error.strerror}); make some and download again:"
            " what has come is kept"
        )
    return GlmqError(f"{path} cannot be written: {error.strerror or error}; set HF_HOME to another folder")


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(WeakFileLock(path, timeout=0.5))
                break
            except TimeoutError:
                waiting()
        yield


def _fetch(remote: RemoteFile, path: Path, received: Received) -> str:
    """Complete a file; gives its checksum."""
    digest = _new_digest(remote.file)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    with FileIO(os.open(path, flags, 0o666), "r+") as file:
        if os.fstat(file.fileno()).st_size > remote.file.size:
            file.truncate(0)
        while portion := file.read(READ_BYTES):
            digest.update(portion)
            received(len(portion))
        for piece in _pieces(remote, file.tell(), received):
            digest.update(piece)
            left = memoryview(piece)
            while left:
                left = left[file.write(left) :]
        os.fsync(file.fileno())
    return digest.hexdigest()


def _new_digest(file: RepoFile) -> _Hash:
    """What a file's name among the blobs is made with: SHA-256, or what Git makes of small files."""
    if file.sha256:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)


def _pieces(remote: RemoteFile, start: int, received: Received) -> Iterator[bytes]:
    """The rest of a file in order, several pieces on their way at once."""
    stopped = False

    def counted(n: int) -> None:
        if stopped:
            raise Stopped
        received(n)

    ahead: deque[Future[bytes]] = deque()
    pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="download")
    try:
        for first in range(start, remote.file.size, PIECE_BYTES):
            n_bytes = min(PIECE_BYTES, remote.file.size - first)
            ahead.append(pool.submit(remote.read, first, n_bytes, counted))
            if len(ahead) > CONNECTIONS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
