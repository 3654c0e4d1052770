"""The size of a file that is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from glmq_kernels.errors import GlmqError

from ..plan import PlannedTensor


@dataclass(frozen=True)
class TargetSize:
    """Bytes of a file, at most; or bits for each of its weights, on average. One of the two.

    sensitivities: what errors cost, by the names of some tensors, measured by running the model
    (`glmq.quality.sensitivities`). progress(tensors done, tensors in all) is called while errors are
    measured.
    """

    n_bytes: int | None = None
    bits_per_weight: float | None = None
    sensitivities: Mapping[str, float] | None = None
    progress: Callable[[int, int], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if (self.n_bytes is None) == (self.bits_per_weight is None):
            raise GlmqError("give the size of the file or its bits per weight, one of the two")
        wanted = self.n_bytes if self.bits_per_weight is None else self.bits_per_weight
        if wanted is None or not math.isfinite(wanted) or wanted <= 0:
            setting = "target_size" if self.bits_per_weight is None else "target_bpw"
            raise GlmqError(f"a size of {wanted} is not possible", setting=setting)

    @property
    def label(self) -> str:
        """For names of files, such as 40GB or 4.5bpw."""
        if self.n_bytes is None:
            return f"{self.bits_per_weight:g}bpw"
        return f"{self.n_bytes / 1e9:g}GB" if self.n_bytes >= 1e9 else f"{self.n_bytes / 1e6:g}MB"

    @property
    def told(self) -> str:
        """How types are chosen for it, in a sentence."""
        if self.sensitivities:
            return (
                "types were chosen by each tensor's errors, and what these change in what the model predicts"
            )
        return (
            "types were chosen by each tensor's errors; the model was not run for it, and what errors cost is"
            " that of another model"
        )

    def budget(self, tensors: Sequence[PlannedTensor], overhead: int) -> int:
        """Bytes for all tensors. overhead: bytes of the file beside them."""
        if self.n_bytes is not None:
            return self.n_bytes - overhead
        assert self.bits_per_weight is not None
        return int(self.bits_per_weight * sum(math.prod(tensor.shape) for tensor in tensors) / 8)
