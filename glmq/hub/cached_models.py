"""What of the Hub is on this machine, and removing it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from glmq_kernels.errors import GlmqError
from huggingface_hub import CachedFileInfo, CachedRepoInfo, DeleteCacheStrategy, scan_cache_dir

from .cache import files_in, hub_cache, repo_folder, snapshots
from .model_choice import ModelFiles, RepoFile, is_checkpoint, matching, models_among
from .names import HubName

CHECKPOINT = "checkpoint"
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Cached:
    """Something in the cache.

    name: what commands take for it. kind: a type such as Q4_K_M, `CHECKPOINT`, or `UNFINISHED` for what has
    come of downloads that ended early. architecture: as a GGUF file names it, "" where nothing does.
    n_bytes: on the disk. n_missing: parts of a split model that are not there. last_used: seconds since
    1970. paths: its files.
    """

    name: str
    kind: str
    architecture: str
    n_bytes: int
    n_missing: int
    last_used: float
    paths: tuple[Path, ...]


def cached_models() -> list[Cached]:
    """All models, checkpoints and unfinished downloads in the cache, by name."""
    found: list[Cached] = []
    with suppress(OSError):
        for folder in sorted(hub_cache().glob("models--*--*")):
            repo = folder.name.removeprefix("models--").replace("--", "/")
            found += _in_repository(repo)
    return found


def _in_repository(repo: str) -> Iterator[Cached]:
    """The newest commit's models by plain names, others that are not the same by names with the commit."""
    seen: set[tuple[Path, ...]] = set()
    named: set[HubName] = set()
    for snapshot in snapshots(HubName(repo)):
        of_newer = set(named)
        for files in _groups(list(files_in(snapshot))):
            paths = tuple(snapshot / file.path for file in files.files)
            blobs = tuple(path.resolve() for path in paths)
            if blobs in seen:
                continue
            seen.add(blobs)
            name = HubName(repo, None, None if files.tag == CHECKPOINT else files.tag)
            if name in of_newer:
                name = replace(name, revision=snapshot.name)
            elif name in named:  # two files of a type
                name = replace(name, tag=files.files[0].path)
            named.add(name)
            used = max((path.stat().st_atime for path in blobs), default=0.0)
            missing = files.n_parts - len(files.files)
            yield Cached(str(name), files.tag, architecture(paths[0]), files.size, missing, used, paths)
    if unfinished := _unfinished(repo):
        sizes = [path.stat() for path in unfinished]
        n_bytes, used = sum(each.st_size for each in sizes), max(each.st_mtime for each in sizes)
        yield Cached(repo, UNFINISHED, "", n_bytes, 0, used, unfinished)


def _unfinished(repo: str) -> tuple[Path, ...]:
    """What has come of downloads that ended early, and blobs that no snapshot shows."""
    folder = repo_folder(repo)
    shown = {path.resolve() for path in (folder / "snapshots").rglob("*") if path.is_symlink()}
    return tuple(sorted(path for path in (folder / "blobs").glob("*") if path.resolve() not in shown))


def _groups(files: list[RepoFile]) -> Iterator[ModelFiles]:
    yield from models_among(files)
    if is_checkpoint(files):
        yield ModelFiles(CHECKPOINT, tuple(file for file in files if file.path.endswith(".safetensors")))


def architecture(path: Path) -> str:
    """What a GGUF file says it is, in the first of its metadata; "" where that says something else."""
    with suppress(OSError, struct.error, UnicodeDecodeError), path.open("rb") as file:
        start = file.read(256)
        if start[:4] == b"GGUF":
            [length] = struct.unpack_from("<Q", start, 24)
            key, rest = start[32 : 32 + length], 32 + length
            kind, size = struct.unpack_from("<IQ", start, rest)
            if key == b"general.architecture" and kind == 8:
                return start[rest + 12 : rest + 12 + size].decode()
    return ""


@dataclass(frozen=True)
class Removal:
    """What is to be removed, before it is. files: by name. n_bytes: that become free."""

    files: tuple[str, ...]
    n_bytes: int
    _repo: Path
    _strategy: DeleteCacheStrategy | None

    def run(self) -> None:
        """Remove it. Raises GlmqError for what the system does not let go of."""
        try:
            if self._strategy:
                self._strategy.execute()
            else:
                shutil.rmtree(self._repo)
        except OSError as error:
            raise GlmqError(f"{error.filename} cannot be removed: {error.strerror}") from None
        if self._strategy:
            for path in (*self._strategy.repos, *self._strategy.files, *self._strategy.blobs):
                if path.exists():
                    raise GlmqError(f"{path} cannot be removed; it may belong to another user")


def plan_removal(name: HubName) -> Removal:
    """What removing a name means: a model's files at all commits, or without a TAG all of a repository.

    Blobs that files of other models share stay. Raises GlmqError for what is not in the cache.
    """
    folder = repo_folder(name.repo)
    if not folder.is_dir():
        there = ", ".join(each.name for each in cached_models())
        raise GlmqError(f"{name} is not in the cache{'; there are ' + there if there else ''}")
    scan = scan_cache_dir(hub_cache())
    repo = next((each for each in scan.repos if each.repo_path.resolve() == folder.resolve()), None)
    if name.tag is None and name.revision is None:
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        n_bytes = sum(path.stat().st_size for path in files)
        commits = [revision.commit_hash for revision in repo.revisions] if repo else []
        strategy = scan.delete_revisions(*commits) if commits else None
        return Removal(_names(_all_files(repo)), n_bytes, folder, strategy)
    wanted = {snapshot / file.path for snapshot in snapshots(name) for file in _meant(snapshot, name)}
    chosen = [file for file in _all_files(repo) if file.file_path in wanted]
    if not chosen:
        there = ", ".join(each.name for each in _in_repository(name.repo)) or "no models"
        raise GlmqError(f"{name} is not in the cache; of {name.repo} there are {there}")
    strategy = scan.delete_files(*chosen)
    return Removal(_names(chosen), strategy.expected_freed_size, folder, strategy)


def _meant(snapshot: Path, name: HubName) -> Sequence[RepoFile]:
    """The files of a snapshot that a name with a TAG means, all of them without one."""
    files = list(files_in(snapshot))
    if name.tag is None:
        return files
    model = matching(models_among(files), name.tag)
    return model.files if model else ()


def _all_files(repo: CachedRepoInfo | None) -> list[CachedFileInfo]:
    return [file for revision in repo.revisions for file in revision.files] if repo else []


def _names(files: Sequence[CachedFileInfo]) -> tuple[str, ...]:
    return tuple(sorted({file.file_name for file in files}))
