"""The files of a repository, with sizes and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin

from glmq_kernels.errors import GlmqError

from .connection import ask, endpoint, errors_about
from .model_choice import RepoFile
from .names import HubName

MAIN = "main"


@dataclass(frozen=True)
class RepoListing:
    """The files of a repository at a commit; `revision` is what it was asked for by."""

    repo: str
    revision: str
    commit: str
    files: tuple[RepoFile, ...]


def list_repo(name: HubName) -> RepoListing:
    """What the Hub has under a name. Raises GlmqError where it has nothing, or there is no way to it."""
    revision = name.revision or MAIN
    if ".." in revision:  # a revision is also the name of a file in the cache
        raise GlmqError(f"{revision!r} is not the name of a branch, tag or commit", setting="revision")
    with errors_about(str(name), name.repo):
        try:
            about = ask("GET", f"{_api(name.repo)}/revision/{quote(revision, safe='')}").json()
            commit = _hexadecimal(_text(about, "sha"), 40)
            files = tuple(_files(f"{_api(name.repo)}/tree/{commit}?recursive=true"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise GlmqError(
                f"{endpoint()} does not answer as the Hub does; check HF_ENDPOINT and the network"
            ) from None
    return RepoListing(name.repo, revision, commit, files)


def _api(repo: str) -> str:
    return f"{endpoint()}/api/models/{repo}"


def _files(url: str | None) -> Iterator[RepoFile]:
    """All pages, of which each tells in its Link header where the next is."""
    while url:
        response = ask("GET", url)
        for entry in response.json():
            if entry["type"] == "file":
                yield _file(entry)
        following = response.links.get("next", {}).get("url")
        url = urljoin(url, following) if following else None


def _file(entry: dict[str, Any]) -> RepoFile:
    path, size = _text(entry, "path"), entry["size"]
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or type(size) is not int or size < 0:
        raise ValueError(path)
    lfs = entry.get("lfs")
    sha256 = _hexadecimal(_text(lfs, "oid").removeprefix("sha256:"), 64) if lfs else None
    return RepoFile(path, lfs["size"] if lfs else size, sha256, _hexadecimal(_text(entry, "oid"), 40))


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str) or not value:
        raise ValueError(key)
    return value


def _hexadecimal(text: str, length: int) -> str:
    """Checksums become names of files, so they must be nothing else."""
    if len(text) != length or not set(text) <= set("0123456789abcdef"):
        raise ValueError(text)
    return text
