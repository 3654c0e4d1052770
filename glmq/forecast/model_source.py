"""Where what is said of a model comes from: its file, or the headers of its files on the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.compilation import Progress

from ..demo import named_demo
from ..gguf import GGUFFile, open_described, open_gguf
from ..hub.names import HubName, hub_name
from .next_steps import OtherFile

if TYPE_CHECKING:
    from ..hub.remote_file import RemoteFile


@dataclass
class ModelSource:
    """A model whose headers are open.

    is_here: whether its tensors are, too. folder: where its files are, or would be. others(): other
    quantizations of the same model, as far as the Hub tells now.
    """

    file: GGUFFile
    is_here: bool
    folder: Path
    others: Callable[[], Sequence[OtherFile]]

    def __enter__(self) -> ModelSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


def open_source(model: str | os.PathLike[str], progress: Progress | None = None) -> ModelSource:
    """Open the headers of a model: a path, a demo model's name, or a name on the Hub. Raises GlmqError."""
    demo = named_demo(model)
    if demo is not None:
        return _on_this_machine(demo.path(progress), lambda: ())
    name = None if os.path.lexists(model) else hub_name(os.fspath(model))
    if name is None:
        return _on_this_machine(Path(model), lambda: ())
    from ..hub.cache import cached_model

    cached = cached_model(name)
    return _on_the_hub(name) if cached is None else _on_this_machine(cached.path, lambda: _others(name))


def _on_this_machine(path: Path, others: Callable[[], Sequence[OtherFile]]) -> ModelSource:
    file = open_gguf(path)
    return ModelSource(file, True, file.paths[0].absolute().parent, others)


def _on_the_hub(name: HubName) -> ModelSource:
    """A model that is not in the cache: its headers are read by ranges, and nothing is kept."""
    from ..hub.cache import hub_cache
    from ..hub.listing import list_repo
    from ..hub.model_choice import choose, models_among
    from ..hub.remote_file import RemoteFile

    listing = list_repo(name)
    model = choose(listing.repo, listing.files, name.tag)
    files = {file.path: file for file in listing.files}

    def open_part(path: Path) -> _HubFile:
        within = path.relative_to(listing.repo).as_posix()
        if within not in files:
            raise GlmqError(f"{listing.repo} lacks {within}; choose another file of the model")
        return _HubFile(RemoteFile(listing, files[within]))

    file = open_described(Path(listing.repo, model.files[0].path), open_part)
    others = [OtherFile(each.tag, each.size) for each in models_among(listing.files) if each.is_complete]
    return ModelSource(file, False, hub_cache(), lambda: others)


def _others(name: HubName) -> Sequence[OtherFile]:
    """What else the repository of a model has; nothing where the Hub does not answer."""
    from ..hub.listing import list_repo
    from ..hub.model_choice import models_among

    try:
        found = models_among(list_repo(name).files)
    except GlmqError:
        return ()
    return [OtherFile(each.tag, each.size) for each in found if each.is_complete]


class _HubFile:
    """A `RangedFile` of the Hub."""

    def __init__(self, remote: RemoteFile) -> None:
        self._remote = remote
        self.n_bytes = remote.file.size
        self.identity = f"{remote.name} {remote.file.etag}"

    def read(self, first: int, n_bytes: int) -> bytes:
        """Bytes of the file, as many as it has there."""
        return self._remote.read(first, min(n_bytes, self.n_bytes - first))
