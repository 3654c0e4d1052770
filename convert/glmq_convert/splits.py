"""Models in several files, as llama.cpp's gguf-split makes them.

NAME-00001-of-00003.gguf    all metadata, split.no 0
NAME-00002-of-00003.gguf    split.* alone, split.no 1
each                        split.count (u16), split.tensors.count (i32, of all files), whole tensors
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
from gguf import Keys
from glmq_kernels.errors import GlmqError

from .plan import PlannedTensor

MOST_FILES = 0xFFFF
"""As many as split.count can tell of."""


@dataclass(frozen=True)
class SplitSizes:
    """How large each of several files may be.

    max_bytes, max_tensors: of one file, at most; a tensor that is larger has a file of its own.
    tensors_of_each: numbers of tensors, file by file, whatever their sizes.
    """

    max_bytes: int | None = None
    max_tensors: int | None = None
    tensors_of_each: tuple[int, ...] = ()


def split_tensors(tensors: Sequence[PlannedTensor], sizes: SplitSizes) -> list[list[PlannedTensor]]:
    """The tensors of each file, in their order. Raises GlmqError for more files than there can be."""
    parts: list[list[PlannedTensor]] = [[]]
    n_bytes = 0
    for tensor in tensors:
        if parts[-1] and _is_full(parts, n_bytes + tensor.n_bytes, sizes):
            parts.append([])
            n_bytes = 0
        parts[-1].append(tensor)
        n_bytes += tensor.n_bytes
    if len(parts) > MOST_FILES:
        raise GlmqError(
            f"that would be {len(parts)} files; a model has at most {MOST_FILES}", setting="split_max_size"
        )
    return parts


def _is_full(parts: Sequence[Sequence[PlannedTensor]], n_bytes: int, sizes: SplitSizes) -> bool:
    """Whether another tensor, which makes the last file so large, goes to the next."""
    if sizes.tensors_of_each:
        last = len(parts) - 1
        return last < len(sizes.tensors_of_each) - 1 and len(parts[-1]) >= sizes.tensors_of_each[last]
    too_many = sizes.max_tensors is not None and len(parts[-1]) >= sizes.max_tensors
    return too_many or (sizes.max_bytes is not None and n_bytes > sizes.max_bytes)


def part_path(path: Path, i: int, n_parts: int) -> Path:
    """The name of the i-th file (from 0) of a model that would be `path` in one."""
    return path.with_name(f"{path.name.removesuffix('.gguf')}-{i + 1:05d}-of-{n_parts:05d}.gguf")


def part_headers(header: gguf.GGUFWriter, n_parts: int, n_tensors: int) -> list[gguf.GGUFWriter]:
    """The headers of all files; the first is `header`, with what tells of the others."""
    headers = [header]
    for _ in range(n_parts - 1):
        other = gguf.GGUFWriter(None, "")
        other.kv_data[0].clear()  # the architecture, which only the first file tells
        headers.append(other)
    for i, each in enumerate(headers):
        each.add_uint16(Keys.Split.LLM_KV_SPLIT_NO, i)
        each.add_uint16(Keys.Split.LLM_KV_SPLIT_COUNT, n_parts)
        each.add_int32(Keys.Split.LLM_KV_SPLIT_TENSORS_COUNT, n_tensors)
    return headers
