"""A checkpoint on the Hub that is converted shard by shard, so that the disk of one shard is enough.

Small files are downloaded as always. A folder holds links to them and, in the place of each shard, its
header: enough to plan with. What is read of a shard that is not here, such as a scale that lies in another
than its weight, is asked for by range. A shard is downloaded, checked and resumed like any file of the Hub,
used, and removed, unless it was there before.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import FileIO
from pathlib import Path
from types import TracebackType

from glmq_kernels.errors import GlmqError

from .cache import blob_path, content_path, is_cached, is_shown, repo_folder
from .download import CONNECTIONS
from .names import HubName
from .pull import Progress, Transfer, plan_checkpoint
from .remote_file import RemoteFile

HEADER_GUESS = 1 << 16
"""Bytes asked for first: the headers of many shards are as short."""

LONGEST_HEADER = 100_000_000


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
        """Download a shard, unless it is in the cache."""
        names = sorted(self._shards)
        doing = f"shard {names.index(path.name) + 1} of {len(names)}"

        def tell(transfer: Transfer) -> None:
            self._tell(replace(transfer, doing=doing))

        [self._here[path.name]] = replace(self._pull, files=(self._shards[path.name],)).fetch(tell)

    def release(self, path: Path) -> None:
        """Remove a shard, unless it is in the cache under its name."""
        blob = blob_path(self._pull.listing.repo, self._shards[path.name])
        if blob.is_file() and not is_shown(blob):
            self._here.pop(path.name, None)
            blob.unlink()

    def _tell(self, transfer: Transfer) -> None:
        if self._progress:
            self._progress(transfer)
