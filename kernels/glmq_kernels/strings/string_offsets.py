"""Finding the strings of a GGUF string array: hundreds of thousands in milliseconds."""

from __future__ import annotations

import numpy as np

from ..arrays import address_of, zeros
from ..jit.compilation import Progress
from ..jit.store import kernel, kernels, packed
from .arguments import WalkStrings

KERNEL = "strings.kernel.walk"


def prepare(progress: Progress) -> None:
    """Compile what `string_offsets` calls, if that was never done, telling of it."""
    kernels([KERNEL], progress)


def string_offsets(data: np.ndarray, start: int, count: int) -> np.ndarray:
    """Byte positions of `count` strings (uint64 length, then bytes) that follow each other from `start`.

    data: uint8 (n,), C-contiguous. Gives int64 (count + 1,): where each string's length field begins,
    and the end of the last. Raises ValueError when a string runs past the end of `data`.
    """
    if not 0 <= start <= data.size or not 0 <= count <= (data.size - start) // 8:
        raise ValueError(f"{count} strings do not fit into the data")
    out = zeros(count + 1, np.int64)
    done = zeros(1, np.int64)
    record = packed(
        WalkStrings,
        data=address_of(data),
        size=data.size,
        start=start,
        count=count,
        offsets=address_of(out),
        n_walked=address_of(done),
    )
    kernel(KERNEL)(address_of(record))
    if done[0] != count:
        raise ValueError(f"string {int(done[0])} of {count} runs past the end of the data")
    return out
