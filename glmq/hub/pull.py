"""A model's files from the Hub into the cache."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glmq_kernels.errors import GlmqError

from .cache import content_path, hub_cache, is_cached, link, n_bytes_kept, note_revision
from .download import download
from .listing import RepoListing, list_repo
from .model_choice import ModelFiles, RepoFile, choose, companion, gigabytes
from .names import HubName
from .remote_file import RemoteFile

ROOM_LEFT = 100_000_000
"""Bytes of the disk that a download does not take, so that the system goes on."""


@dataclass(frozen=True)
class Transfer:
    """How far a download is: what is being done, bytes that are there, in all, and were there before."""

    doing: str
    n_done: int
    n_bytes: int
    n_before: int


Progress = Callable[[Transfer], None]


@dataclass(frozen=True)
class Pull:
    """Files that are to be had of a repository, before anything is downloaded.

    name: what was asked for. model: the model among the files, if they are a model's.
    """

    name: HubName
    listing: RepoListing
    files: tuple[RepoFile, ...]
    model: ModelFiles | None = None

    @property
    def missing(self) -> list[RepoFile]:
        """Those that are not in the cache."""
        repo, commit = self.listing.repo, self.listing.commit
        return [file for file in self.files if not is_cached(repo, commit, file)]

    @property
    def n_bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)

    @property
    def n_bytes_missing(self) -> int:
        """Yet to be downloaded."""
        return sum(file.size - n_bytes_kept(self.listing.repo, file) for file in self.missing)

    def run(self, progress: Progress | None = None) -> list[Path]:
        """Download what is missing; gives where the files are, in order.

        Raises GlmqError, and keeps what has come, where something goes wrong, and so does Ctrl-C.
        """
        self._check_room()
        repo, commit = self.listing.repo, self.listing.commit
        counter = _Counter(progress, self.n_bytes)
        paths = []
        for file in self.files:
            self._download(file, counter)
            paths.append(link(repo, commit, file))
        note_revision(repo, self.listing.revision, commit)
        return paths

    def fetch(self, progress: Progress | None = None) -> list[Path]:
        """The same, but the cache does not show the files under their names. Gives where their bytes are."""
        self._check_room()
        counter = _Counter(progress, self.n_bytes)
        for file in self.files:
            self._download(file, counter)
        return [content_path(self.listing.repo, self.listing.commit, file) for file in self.files]

    def _download(self, file: RepoFile, counter: _Counter) -> None:
        repo = self.listing.repo
        if is_cached(repo, self.listing.commit, file):
            counter.found(file.size)
        else:
            counter.begin(file, n_bytes_kept(repo, file))
            download(RemoteFile(self.listing, file), counter.received, counter.waiting)

    def _check_room(self) -> None:
        wanted, folder = self.n_bytes_missing, hub_cache()
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if wanted and free < wanted + ROOM_LEFT:
            raise GlmqError(
                f"{self.name} needs {gigabytes(wanted)} more and {hub_cache()} has {gigabytes(free)} free;"
                " make room there, choose a smaller type, or set HF_HOME to a folder on another disk"
            )


class _Counter:
    """Adds up what comes, from several threads, and tells it."""

    def __init__(self, progress: Progress | None, n_bytes: int) -> None:
        self._progress, self._n_bytes = progress, n_bytes
        self._n_done = self._n_before = 0
        self._doing = ""
        self._lock = threading.Lock()

    def found(self, n_bytes: int) -> None:
        self._n_before += n_bytes
        self._n_done += n_bytes

    def begin(self, file: RepoFile, n_kept: int) -> None:
        self._doing = file.name
        self._n_before += n_kept
        self.received(0)

    def received(self, n: int) -> None:
        with self._lock:
            self._n_done += n
            self._tell(self._doing)

    def waiting(self) -> None:
        with self._lock:
            self._tell(f"{self._doing}: waiting for another program that downloads it")

    def _tell(self, doing: str) -> None:
        if self._progress:
            self._progress(Transfer(doing, self._n_done, self._n_bytes, self._n_before))


def plan_pull(name: HubName, companions: Iterable[str] = ()) -> Pull:
    """What to download for a model. companions: "mtp" and "mmproj", files that other programs use beside it.

    Raises GlmqError for what the Hub does not have.
    """
    listing = list_repo(name)
    model = choose(name.repo, listing.files, name.tag)
    beside = [_companion(listing, kind, model) for kind in companions]
    return Pull(name, listing, (*model.files, *beside), model)


def _companion(listing: RepoListing, kind: str, model: ModelFiles) -> RepoFile:
    found = companion(listing.files, kind, model)
    if found is None:
        raise GlmqError(f"{listing.repo} has no {kind} file", setting=kind)
    return found


_CHECKPOINT_FILES = (".json", ".jinja", ".model", ".txt", "README.md", "LICENSE")
_OTHER_WEIGHTS = ("consolidated",)
"""Beginnings of names of weights that are in the repository a second time."""


def checkpoint_files(files: Sequence[RepoFile]) -> tuple[RepoFile, ...]:
    """What converting reads of a repository: small files, and weights, in its topmost folder."""
    top = [file for file in files if "/" not in file.path and not file.path.startswith(_OTHER_WEIGHTS)]
    return tuple(file for file in top if file.path.endswith((*_CHECKPOINT_FILES, ".safetensors")))


def plan_checkpoint(name: HubName) -> Pull:
    """What to download of a checkpoint that is to be converted. Raises GlmqError where there is none."""
    listing = list_repo(name)
    files = checkpoint_files(listing.files)
    if not any(file.path.endswith(".safetensors") for file in files):
        raise GlmqError(f"{name.repo} holds no *.safetensors files to convert")
    return Pull(name, listing, files)
