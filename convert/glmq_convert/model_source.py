"""A model that is to be written as GGUF, whatever it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf

from .plan import PlannedTensor, Weights
from .shards import WHOLE, Shard


@dataclass(frozen=True)
class ModelSource:
    """A model in GGUF terms.

    name: that files get their names from. tensors: in the order of the file; their types are those of the
    source, or not chosen. header: all metadata but what says how the file is written. weights: what the
    tensors are read from, once their types are chosen. identity: what tells these weights from others
    (`identity_of`). shards: parts of it that are converted one after the other. remarks: what the user may
    want to know.
    """

    name: str
    tensors: list[PlannedTensor]
    header: gguf.GGUFWriter
    weights: Callable[[Sequence[PlannedTensor]], Weights]
    identity: str
    shards: Sequence[Shard] = WHOLE
    remarks: Sequence[str] = ()


def identity_of(files: Iterable[Path]) -> str:
    """Names, sizes and times of change of files, as a text that changes when one of them does."""
    told = []
    for file in files:
        status = file.stat()
        told.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(told)
