"""The tensor types that have kernels: the block of each, as GGUF stores it.

The code of a type is `formats/unpack/<type>.py`; a new type is one such file and one line here.
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
        Format("Q5_0", 32, 22),
        Format("Q5_1", 32, 24),
        Format("IQ4_NL", 32, 18),
        Format("MXFP4", 32, 17),
        Format("Q2_K", 256, 84),
        Format("Q3_K", 256, 110),
        Format("Q4_K", 256, 144),
        Format("Q5_K", 256, 176),
        Format("Q6_K", 256, 210),
        Format("IQ4_XS", 256, 136),
        Format("IQ3_S", 256, 110),
        Format("IQ3_XXS", 256, 98),
        Format("IQ2_S", 256, 82),
        Format("IQ2_XS", 256, 74),
        Format("IQ2_XXS", 256, 66),
        Format("IQ1_M", 256, 56),
        Format("IQ1_S", 256, 50),
        Format("TQ2_0", 256, 66),
        Format("TQ1_0", 256, 54),
    )
}
