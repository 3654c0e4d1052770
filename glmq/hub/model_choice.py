"""Which files of a repository belong together, and which of them a TAG means.

The rule is llama.cpp's (`common/download.cpp`): the first file whose name has the TAG, whatever its case,
before a point or a dash; without a TAG Q4_K_M, then Q8_0, then the first file. Of a split model all parts
belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from glmq_kernels.errors import GlmqError

DEFAULT_TAGS = ("Q4_K_M", "Q8_0")

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_TYPE = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d+(?:_\w+)?|TQ\d_\d|BF16|F16|FP16|F32|MXFP4(?:_\w+)?|NVFP4))(?=[-.]|$)",
    re.IGNORECASE,
)
_COMPANIONS = {
    "mtp": re.compile(r"(?:^|/)mtp[-_.]", re.IGNORECASE),
    "mmproj": re.compile("mmproj", re.IGNORECASE),
}
"""Files that go with a model and are none: its layer of multi-token prediction, and its eyes."""

_NO_MODELS = re.compile(r"imatrix|(?:^|/)ggml-vocab", re.IGNORECASE)
NAMES_SHOWN = 40


@dataclass(frozen=True)
class RepoFile:
    """A file of a repository: its path there, bytes, and checksum.

    sha256: of large files, kept in Git LFS. git_oid: SHA-1 of what Git makes of a small one.
    """

    path: str
    size: int
    sha256: str | None = None
    git_oid: str = ""

    @property
    def name(self) -> str:
        """Without the folder."""
        return self.path.rpartition("/")[2]

    @property
    def etag(self) -> str:
        """The name of its blob in the cache."""
        return self.sha256 or self.git_oid


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model, in order.

    tag: what tells it from the others of its repository, such as Q4_K_M. n_parts: files that it should have.
    """

    tag: str
    files: tuple[RepoFile, ...]
    n_parts: int = 1

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def is_complete(self) -> bool:
        """Whether all parts are there."""
        return len(self.files) == self.n_parts


def models_among(files: Iterable[RepoFile]) -> list[ModelFiles]:
    """The models among a repository's files, by path."""
    parts: dict[tuple[str, int], list[RepoFile]] = {}
    for file in sorted(files, key=lambda file: file.path):
        if file.name.lower().endswith(".gguf") and not _is_no_model(file.path):
            split = _PART.fullmatch(file.path)
            key = (split["stem"], int(split["count"])) if split else (file.path[: -len(".gguf")], 1)
            parts.setdefault(key, []).append(file)
    return [ModelFiles(_tag_of(stem), tuple(found), count) for (stem, count), found in parts.items()]


def _is_no_model(path: str) -> bool:
    return bool(_NO_MODELS.search(path)) or any(kind.search(path) for kind in _COMPANIONS.values())


def _tag_of(stem: str) -> str:
    """The type that a file's name tells of, else the name."""
    name = stem.rpartition("/")[2]
    found = _TYPE.findall(name) or _TYPE.findall(stem)
    return found[-1] if found else name


def matching(models: Sequence[ModelFiles], tag: str | None) -> ModelFiles | None:
    """The model that a TAG means; None where there is none. Without a TAG the one to take by default."""
    if tag is None:
        usual = (matching(models, each) for each in DEFAULT_TAGS)
        return next(filter(None, usual), models[0] if models else None)
    for model in models:
        if any(tag in (file.path, file.name) for file in model.files):
            return model
    # A TAG may begin within a name (…UD-Q2_K_XL), but Q4_0 is not meant by IQ4_0.
    for before in (r"(?:^|[-._/])", ""):
        pattern = _pattern(before, tag)
        for model in models:
            if pattern.search(model.files[0].path):
                return model
    return None


def _pattern(before: str, tag: str) -> re.Pattern[str]:
    try:
        return re.compile(f"{before}(?:{tag})[.-]", re.IGNORECASE)
    except re.error:
        return re.compile(f"{before}{re.escape(tag)}[.-]", re.IGNORECASE)


def choose(repo: str, files: Sequence[RepoFile], tag: str | None) -> ModelFiles:
    """The model that is meant. Raises GlmqError, which lists what there is, where there is none."""
    models = models_among(files)
    if not models:
        kinds = "a checkpoint, which has to be converted first" if is_checkpoint(files) else "other files"
        raise GlmqError(f"{repo} holds no GGUF model, but {kinds}")
    found = matching(models, tag)
    if found is None:
        raise GlmqError(f"{repo} has no {tag}; it has {listed(models)}", setting="tag")
    if not found.is_complete:
        raise GlmqError(
            f"{repo} has {len(found.files)} of the {found.n_parts} parts of {found.tag}; choose another"
            f" ({listed(models)})",
            setting="tag",
        )
    return found


def is_checkpoint(files: Iterable[RepoFile]) -> bool:
    """Whether there are weights as models are released in."""
    return any(file.path.endswith(".safetensors") for file in files)


def listed(models: Sequence[ModelFiles]) -> str:
    """The models with their sizes, such as "Q4_K_M (73.0 GB), Q8_0 (118.0 GB)"."""
    shown = ", ".join(f"{model.tag} ({gigabytes(model.size)})" for model in models[:NAMES_SHOWN])
    more = len(models) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def gigabytes(n_bytes: int) -> str:
    """Such as "73.0 GB", or "4 MB" for less."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{-(-n_bytes // 1_000_000)} MB"


def companion(files: Iterable[RepoFile], kind: str, model: ModelFiles) -> RepoFile | None:
    """The file of a kind ("mtp" or "mmproj") that goes with a model, of several that of the nearest bits."""
    found = [file for file in files if _COMPANIONS[kind].search(file.path) and file.name.endswith(".gguf")]

    def distance(file: RepoFile) -> tuple[int, str]:
        return abs(_bits(_tag_of(file.path.removesuffix(".gguf"))) - _bits(model.tag)), file.path

    return min(found, key=distance, default=None)


def _bits(tag: str) -> int:
    """Bits of a weight by a type's name; those of names that tell none are taken to be 16."""
    found = re.search(r"\d+", tag)
    return int(found[0]) if found else 16
