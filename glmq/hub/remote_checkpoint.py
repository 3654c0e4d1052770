"""A checkpoint on the Hub that is converted shard by shard, so that the disk of one shard is enough.

Small files are downloaded as always. A folder holds links to them and, in the place of each shard, its
header: enough to plan with. What is read of a shard that is not here, such as a scale that lies in another
than its weight, is asked for by range. A shard is downloaded, checked and resumed like any file of the Hub,
used, and removed, unless it was there before. The next one comes while a shard is converted, where the disk
has room for both.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from io import FileIO
from pathlib import Path
from types import TracebackType

from glmq_kernels.errors import GlmqError

from .cache import blob_path, content_path, hub_cache, is_cached, is_shown, repo_folder
from .download import CONNECTIONS
from .names import HubName
from .pull import ROOM_LEFT, Progress, Pull, Transfer, plan_checkpoint
from .remote_file import RemoteFile, Stopped

HEADER_GUESS = 1 << 16
"""Bytes asked for first: the headers of many shards are as short."""

LONGEST_HEADER = 100_000_000

SECONDS_BETWEEN_LOOKS = 0.2
"""At a download that is waited for."""


class RemoteCheckpoint:
    """A checkpoint on the Hub, as a context (`glmq_convert.shards.ShardStore`).

    folder: to be converted. progress: is told how far each download is. Raises GlmqError for what the Hub
    does not have.
    """

    def __init__(self, name: HubName, progress: Progress | None = None) -> None:
        pull = plan_checkpoint(name)
        self._pull, self._progress = pull, progress
        self._shards = {file.name: file for file in pull.files if file.path.endswith(".safetensors")}
        self._remote = {name: RemoteFile(pull.listing, file) for name, file in self._shards.items()}
        self._here: dict[str, Path] = {}
        self._ahead: dict[str, _Ahead] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="glmq-")
        self.identity = "\n".join(f"{name} {file.etag}" for name, file in sorted(self._shards.items()))
        self.n_bytes = sum(file.size for file in self._shards.values())

    @property
    def folder(self) -> Path:
        """Named as in the cache, from which converting takes the model's name."""
        listing = self._pull.listing
        return Path(self._temporary.name) / repo_folder(listing.repo).name / "snapshots" / listing.commit

    def __enter__(self) -> RemoteCheckpoint:
        small = tuple(file for file in self._pull.files if file.name not in self._shards)
        try:
            paths = replace(self._pull, files=small).run(self._progress)
            self.folder.mkdir(parents=True)
            for path in paths:
                (self.folder / path.name).symlink_to(path.resolve())
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                list(pool.map(self._write_header, self._shards))
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for under_way in self._ahead.values():
            under_way.stop()
        self._temporary.cleanup()

    def _write_header(self, name: str) -> None:
        """A file that holds the header of a shard; a link to the shard if it is here."""
        file, remote = self._shards[name], self._remote[name]
        listing = self._pull.listing
        if is_cached(listing.repo, listing.commit, file):
            self._here[name] = content_path(listing.repo, listing.commit, file)
            (self.folder / name).symlink_to(self._here[name].resolve())
            return
        start = remote.read(0, min(HEADER_GUESS, file.size))
        length = 8 + int.from_bytes(start[:8], "little")
        if length > min(LONGEST_HEADER, file.size):
            raise GlmqError(f"{remote.name} is not a safetensors file")
        if length > len(start):
            start += remote.read(len(start), length - len(start))
        (self.folder / name).write_bytes(start[:length])

    def size(self, path: Path) -> int:
        """Bytes of a shard."""
        return self._shards[path.name].size

    def read(self, path: Path, offset: int, target: memoryview) -> int:
        """Read bytes of a shard, from the Hub where it is not here."""
        here = self._here.get(path.name)
        if here is not None:
            with FileIO(here) as file:
                file.seek(offset)
                return file.readinto(target) or 0
        found = self._remote[path.name].read(offset, len(target))
        target[:] = found
        return len(found)

    def fetch(self, path: Path) -> None:
        """Have a shard here: wait until it has come, if it is on its way, else download it."""
        names = sorted(self._shards)
        doing = f"shard {names.index(path.name) + 1} of {len(names)}"

        def tell(transfer: Transfer) -> None:
            if self._progress:
                self._progress(replace(transfer, doing=doing))

        under_way = self._ahead.pop(path.name, None)
        pull = self._pull_of(path)
        [self._here[path.name]] = under_way.finish(tell) if under_way else pull.fetch(tell)

    def fetch_ahead(self, path: Path, n_bytes: int) -> None:
        """Begin to download a shard, if the disk has room for it beside `n_bytes` of other files."""
        pull = self._pull_of(path)
        room = shutil.disk_usage(hub_cache()).free - n_bytes - ROOM_LEFT
        if 0 < pull.n_bytes_missing <= room:
            self._ahead[path.name] = _Ahead(pull)

    def _pull_of(self, path: Path) -> Pull:
        return replace(self._pull, files=(self._shards[path.name],))

    def release(self, path: Path) -> None:
        """Remove a shard, unless it is in the cache under its name."""
        blob = blob_path(self._pull.listing.repo, self._shards[path.name])
        if blob.is_file() and not is_shown(blob):
            self._here.pop(path.name, None)
            blob.unlink()


class _Ahead:
    """A download under way on a thread of its own."""

    def __init__(self, pull: Pull) -> None:
        self._stopped = False
        self._latest = Transfer("", 0, pull.n_bytes, 0)
        pool = ThreadPoolExecutor(1, thread_name_prefix="shard")
        self._paths: Future[list[Path]] = pool.submit(pull.fetch, self._note)
        pool.shutdown(wait=False)

    def _note(self, transfer: Transfer) -> None:
        if self._stopped:
            raise Stopped
        self._latest = transfer

    def finish(self, progress: Progress) -> list[Path]:
        """Wait for the end, telling how far it is; gives where the files are. Raises as `Pull.fetch` does."""
        try:
            while not self._paths.done():
                progress(self._latest)
                wait([self._paths], SECONDS_BETWEEN_LOOKS)
        except BaseException:
            self.stop()
            raise
        paths = self._paths.result()
        progress(self._latest)
        return paths

    def stop(self) -> None:
        """Ask for no more; what has come is kept."""
        self._stopped = True
