"""The folder in which all programs of the Hub keep what they download.

    models--owner--name/
        refs/main               the commit that was the newest when something was last downloaded
        snapshots/COMMIT/…      the repository's files at a commit: links to
        blobs/CHECKSUM          what they hold; CHECKSUM.incomplete is what has come of one so far
    .locks/models--…/CHECKSUM.lock

https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Nothing here asks the Hub for anything.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from .listing import MAIN
from .model_choice import ModelFiles, RepoFile, matching, models_among
from .names import HubName

INCOMPLETE = ".incomplete"


def hub_cache() -> Path:
    """The folder; it need not be there."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def repo_folder(repo: str) -> Path:
    """The folder of a repository."""
    return hub_cache() / f"models--{repo.replace('/', '--')}"


def blob_path(repo: str, file: RepoFile) -> Path:
    """Where the content of a file is, or will be."""
    return repo_folder(repo) / "blobs" / file.etag


def lock_path(repo: str, file: RepoFile) -> Path:
    """The file that programs lock while they download another."""
    return hub_cache() / ".locks" / repo_folder(repo).name / f"{file.etag}.lock"


@dataclass(frozen=True)
class CachedModel:
    """A model in the cache: its snapshot folder, and its files by their paths there."""

    snapshot: Path
    files: ModelFiles

    @property
    def path(self) -> Path:
        """The file to open: the first."""
        return self.snapshot / self.files.files[0].path

    def mark_used(self) -> None:
        """Let the files' times of access say that they were used now, which not all systems do."""
        for file in self.files.files:
            with suppress(OSError):
                path = self.snapshot / file.path
                os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def cached_model(name: HubName) -> CachedModel | None:
    """The model that a name means among what is in the cache; the newest that has all its parts."""
    for snapshot in snapshots(name):
        complete = [model for model in models_among(files_in(snapshot)) if model.is_complete]
        found = matching(complete, name.tag)
        if found is not None:
            return CachedModel(snapshot, found)
    return None


def cached_checkpoint(name: HubName) -> Path | None:
    """The folder of the newest checkpoint of a name in the cache that has all its weights."""
    for snapshot in snapshots(name):
        index = snapshot / "model.safetensors.index.json"
        wanted = {"config.json"}
        with suppress(OSError, ValueError, AttributeError, TypeError):
            wanted |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        has_weights = any(snapshot.glob("*.safetensors"))
        if has_weights and all((snapshot / str(file)).is_file() for file in wanted):
            return snapshot
    return None


def snapshots(name: HubName) -> list[Path]:
    """Snapshot folders of a name, the one that its revision points to first.

    With a revision that is the only one; without, the others follow, the newest first.
    """
    folder = repo_folder(name.repo)
    pointed = folder / "snapshots" / _commit_of(folder, name.revision or MAIN)
    found = [pointed] if pointed.is_dir() else []
    if name.revision is None:
        with suppress(OSError):
            others = [each for each in (folder / "snapshots").iterdir() if each.is_dir() and each != pointed]
            found += sorted(others, key=lambda each: each.stat().st_mtime, reverse=True)
    return found


def _commit_of(folder: Path, revision: str) -> str:
    try:
        return (folder / "refs" / revision).read_text(encoding="utf-8").strip() or revision
    except (OSError, ValueError):
        return revision


def files_in(snapshot: Path) -> Iterator[RepoFile]:
    """The files of a snapshot whose content is there."""
    for path in snapshot.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                yield RepoFile(path.relative_to(snapshot).as_posix(), path.stat().st_size)


def link(repo: str, commit: str, file: RepoFile) -> Path:
    """Show a blob in a snapshot under its name; gives that path."""
    blob = blob_path(repo, file)
    path = repo_folder(repo) / "snapshots" / commit / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        return path
    with suppress(FileNotFoundError):
        path.unlink()  # a link to what is there no more
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # systems without links
        shutil.move(blob, path)
    return path


def note_revision(repo: str, revision: str, commit: str) -> None:
    """Remember the commit that a branch or tag points to."""
    if revision != commit:
        path = repo_folder(repo) / "refs" / revision
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit, encoding="utf-8")


def is_cached(repo: str, commit: str, file: RepoFile) -> bool:
    """Whether a file's content is there."""
    return content_path(repo, commit, file).is_file()


def content_path(repo: str, commit: str, file: RepoFile) -> Path:
    """Where a file's content is, or will be: on systems without links in its snapshot."""
    shown = repo_folder(repo) / "snapshots" / commit / file.path
    return shown if shown.is_file() else blob_path(repo, file)


def is_shown(blob: Path) -> bool:
    """Whether a file of a snapshot is a link to a blob."""
    folder = blob.parent.parent / "snapshots"
    return any(path.is_symlink() and path.resolve() == blob.resolve() for path in folder.rglob("*"))


def n_bytes_kept(repo: str, file: RepoFile) -> int:
    """Bytes of a download that was interrupted."""
    try:
        return min(file.size, incomplete_path(repo, file).stat().st_size)
    except OSError:
        return 0


def incomplete_path(repo: str, file: RepoFile) -> Path:
    """Where a file's content gathers until all of it is there."""
    blob = blob_path(repo, file)
    return blob.with_name(blob.name + INCOMPLETE)
