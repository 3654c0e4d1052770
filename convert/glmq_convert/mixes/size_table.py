"""What a file will hold, by kinds of tensors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..plan import PlannedTensor
from .tensor_kinds import kind_of, stays_f32


@dataclass(frozen=True)
class KindSize:
    """Tensors of one kind in all layers. types: how many there are of each type, the most frequent first."""

    kind: str
    types: dict[str, int]
    n_weights: int
    n_bytes: int

    @property
    def bits_per_weight(self) -> float:
        """Bits in the file for each weight."""
        return 8 * self.n_bytes / self.n_weights


SMALL = "vectors and routers"
TOTAL = "all"


def size_table(tensors: Sequence[PlannedTensor]) -> list[KindSize]:
    """Sizes by kinds, the largest first; then those of all tensors together."""
    kinds: dict[str, list[PlannedTensor]] = {}
    for tensor in tensors:
        kinds.setdefault(SMALL if stays_f32(tensor) else kind_of(tensor.name), []).append(tensor)
    rows = [_size(kind, found) for kind, found in kinds.items()]
    rows.sort(key=lambda row: -row.n_bytes)
    return [*rows, _size(TOTAL, tensors)]


def _size(kind: str, tensors: Sequence[PlannedTensor]) -> KindSize:
    types = Counter(tensor.type for tensor in tensors)
    return KindSize(
        kind,
        dict(types.most_common()),
        sum(math.prod(tensor.shape) for tensor in tensors),
        sum(tensor.n_bytes for tensor in tensors),
    )
