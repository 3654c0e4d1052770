"""The tensor types that have kernels: the block of each, as GGUF stores it.

The code of a type is `native/formats/<type>.py`; a new type is one such file and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A tensor type: `block` weights of a row are stored in `block_bytes` bytes."""

    name: str
    block: int
    block_bytes: int
    is_float: bool = False

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of `columns` weights, a multiple of `block`."""
        return columns // self.block * self.block_bytes


FORMATS = {
    known.name: known
    for known in (
        Format("F32", 1, 4, is_float=True),
        Format("F16", 1, 2, is_float=True),
        Format("BF16", 1, 2, is_float=True),
        Format("Q8_0", 32, 34),
        Format("Q4_0", 32, 18),
        Format("Q4_1", 32, 20),
        Format("Q6_K", 256, 210),
    )
}
