"""Several importance matrices of one model as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from glmq_kernels.errors import GlmqError

from .importance import Importance, TensorSums


def merge_importance(parts: Sequence[Importance]) -> Importance:
    """All of them as one: sums and counts are added, texts are listed once.

    A tensor that only some of them have is taken from these. Raises GlmqError when they are not of one model.
    """
    first = parts[0]
    merged: dict[str, TensorSums] = {}
    for part in parts:
        if part.tensors.keys().isdisjoint(first.tensors):
            raise _different(first, part, "they have no tensor in common")
        for name, found in part.tensors.items():
            merged[name] = found if name not in merged else _added(first, part, name, merged[name], found)
    return Importance(
        file=first.file,
        datasets=tuple(dict.fromkeys(name for part in parts for name in part.datasets)),
        n_chunks=sum(part.n_chunks for part in parts),
        chunk_size=first.chunk_size,
        tensors=merged,
    )


def _added(first: Importance, part: Importance, name: str, one: TensorSums, other: TensorSums) -> TensorSums:
    if one.sums.shape != other.sums.shape:
        sizes = " and ".join(f"{each.sums.shape[0]} x {each.sums.shape[1]}" for each in (one, other))
        raise _different(first, part, f"{name} has {sizes} sums")
    sums = np.add(one.sums, other.sums, dtype=np.float64).astype(np.float32)
    return TensorSums(sums, one.counts + other.counts)


def _different(first: Importance, part: Importance, why: str) -> GlmqError:
    return GlmqError(
        f"{part.file} is of another model than {first.file}: {why}; merge importance matrices of one model"
    )
