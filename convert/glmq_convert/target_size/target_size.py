"""The size of a file that is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glmq_kernels.errors import GlmqError

from ..plan import PlannedTensor


@dataclass(frozen=True)
class TargetSize:
    """Bytes of all tensors, at most; or bits for each of their weights, on average. One of the two."""

    n_bytes: int | None = None
    bits_per_weight: float | None = None

    def __post_init__(self) -> None:
        if (self.n_bytes is None) == (self.bits_per_weight is None):
            raise GlmqError("give the size of the file or its bits per weight, one of the two")
        wanted = self.n_bytes if self.bits_per_weight is None else self.bits_per_weight
        if wanted is None or not math.isfinite(wanted) or wanted <= 0:
            raise GlmqError(f"a size of {wanted} is not possible", setting="target_size")

    def budget(self, tensors: Sequence[PlannedTensor]) -> int:
        """Bytes for all tensors."""
        if self.n_bytes is not None:
            return self.n_bytes
        assert self.bits_per_weight is not None
        return int(self.bits_per_weight * sum(math.prod(tensor.shape) for tensor in tensors) / 8)
