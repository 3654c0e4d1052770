"""Importance matrices in the GGUF form of llama.cpp (tools/imatrix).

    general.type            "imatrix"
    imatrix.datasets        names of the texts
    imatrix.chunk_count     u32
    imatrix.chunk_size      u32, tokens
    NAME.in_sum2            F32 (n_counts, columns), for each weight tensor NAME, in the order of the names
    NAME.counts             F32 (n_counts, 1)

Where glmq made it there are also glmq.imatrix.identity (string), .chunks_done and .chunks_wanted (u32).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import Keys
from glmq_kernels.errors import GlmqError

from .importance import Importance, MakingOf, TensorSums

MAGIC = b"GGUF"
TYPE = "imatrix"
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
IDENTITY = "glmq.imatrix.identity"
CHUNKS_DONE, CHUNKS_WANTED = "glmq.imatrix.chunks_done", "glmq.imatrix.chunks_wanted"
KEYS = {
    Keys.General.TYPE, Keys.General.ARCHITECTURE, DATASETS, CHUNK_COUNT, CHUNK_SIZE, IDENTITY, CHUNKS_DONE,
    CHUNKS_WANTED,
}  # fmt: skip
MOST_ROWS = 1 << 53
SUMS, COUNTS = ".in_sum2", ".counts"


def read_gguf(path: Path) -> Importance:
    """Read a file. Raises GlmqError for one that is damaged or holds something else, OSError."""
    try:
        reader = _WholeReader(path)
        metadata = {key: field.contents() for key, field in reader.fields.items() if key in KEYS}
        arrays = {tensor.name: np.asarray(tensor.data) for tensor in reader.tensors}
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError):
        raise _damaged(path, "its header is wrong, or its end is missing") from None
    if metadata.get(Keys.General.TYPE) != TYPE:
        what = metadata.get(Keys.General.ARCHITECTURE, "something else")
        raise GlmqError(f"{path} is no importance matrix, but a GGUF file of {what}; name another file")
    names = sorted(name.removesuffix(SUMS) for name in arrays if name.endswith(SUMS))
    return Importance(
        file=str(path),
        datasets=_datasets(path, metadata.get(DATASETS)),
        n_chunks=_number(path, metadata, CHUNK_COUNT),
        chunk_size=_number(path, metadata, CHUNK_SIZE),
        tensors={name: _tensor_sums(path, name, arrays) for name in names},
        making=_making(path, metadata),
    )


def write_gguf(importance: Importance, file: Path) -> None:
    """Write a file, over what is there. Raises OSError."""
    writer = gguf.GGUFWriter(None, "")
    writer.kv_data[0].clear()  # a model's architecture, which this is not of
    writer.add_type(TYPE)
    writer.add_array(DATASETS, list(importance.datasets))
    writer.add_uint32(CHUNK_COUNT, importance.n_chunks)
    writer.add_uint32(CHUNK_SIZE, importance.chunk_size)
    if importance.making:
        writer.add_string(IDENTITY, importance.making.identity)
        writer.add_uint32(CHUNKS_DONE, importance.making.n_done)
        writer.add_uint32(CHUNKS_WANTED, importance.making.n_wanted)
    for name in sorted(importance.tensors):
        found = importance.tensors[name]
        writer.add_tensor(name + SUMS, np.ascontiguousarray(found.sums, np.float32))
        writer.add_tensor(name + COUNTS, found.counts.astype(np.float32).reshape(-1, 1))
    writer.write_header_to_file(file)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class _WholeReader(gguf.GGUFReader):  # type: ignore[misc]
    """Refuses what lies behind the end, where the library's reader goes on for as long as a header claims."""

    def _get(self, offset: int, dtype: Any, count: int = 1, *more: Any, **others: Any) -> np.ndarray:
        found: np.ndarray = super()._get(offset, dtype, count, *more, **others)
        if len(found) < count:
            raise ValueError
        return found


def _datasets(path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _damaged(path, f"{DATASETS} are not names")
    return tuple(value)


def _number(path: Path, metadata: dict[str, Any], key: str) -> int:
    value = metadata.get(key)
    if not isinstance(value, int) or value < 0:
        raise _damaged(path, f"{key} is not a number")
    return value


def _making(path: Path, metadata: dict[str, Any]) -> MakingOf | None:
    identity = metadata.get(IDENTITY)
    if not isinstance(identity, str):
        return None
    return MakingOf(identity, _number(path, metadata, CHUNKS_DONE), _number(path, metadata, CHUNKS_WANTED))


def _tensor_sums(path: Path, name: str, arrays: dict[str, np.ndarray]) -> TensorSums:
    sums, counts = arrays[name + SUMS], arrays.get(name + COUNTS)
    if counts is None:
        raise _damaged(path, f"{name}{COUNTS} is missing")
    if sums.dtype != np.float32 or counts.dtype != np.float32:
        raise _damaged(path, f"the sums or counts of {name} are not F32")
    if not counts.size or sums.size % counts.size or not (abs(counts) <= MOST_ROWS).all():
        raise _damaged(path, f"{name} has {counts.size} counts for {sums.size} sums")
    return TensorSums(sums.reshape(counts.size, -1), np.rint(counts).reshape(-1).astype(np.int64))


def _damaged(path: Path, what: str) -> GlmqError:
    return GlmqError(f"{path} is damaged ({what}); make or download it again")
