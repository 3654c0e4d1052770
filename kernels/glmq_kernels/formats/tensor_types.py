"""The tensor types of GGUF files: number, name and block of each, and which of them have kernels.

Numbers and blocks are those of `enum ggml_type` and `ggml-common.h` in llama.cpp. The kernels of a type are
made from `formats/unpack/<type>.py`; a new one is one such file and `has_kernels` here.
"""

from __future__ import annotations

from dataclasses import dataclass

from .unpack import NIBBLES

IN_MEMORY_ONLY = -1
"""In the place of the number of a type that no file has."""


@dataclass(frozen=True)
class TensorType:
    """A tensor type: every `block` weights of a row are stored in `block_bytes` bytes.

    number: that stands for it in files, or IN_MEMORY_ONLY.
    """

    number: int
    name: str
    block: int
    block_bytes: int
    has_kernels: bool = True
    is_float: bool = False

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of `columns` weights, a multiple of `block`."""
        return columns // self.block * self.block_bytes


TENSOR_TYPES = {
    known.name: known
    for known in (
        TensorType(0, "F32", 1, 4, is_float=True),
        TensorType(1, "F16", 1, 2, is_float=True),
        TensorType(30, "BF16", 1, 2, is_float=True),
        TensorType(8, "Q8_0", 32, 34),
        TensorType(2, "Q4_0", 32, 18),
        TensorType(3, "Q4_1", 32, 20),
        TensorType(6, "Q5_0", 32, 22),
        TensorType(7, "Q5_1", 32, 24),
        TensorType(20, "IQ4_NL", 32, 18),
        TensorType(39, "MXFP4", 32, 17),
        TensorType(10, "Q2_K", 256, 84),
        TensorType(11, "Q3_K", 256, 110),
        TensorType(12, "Q4_K", 256, 144),
        TensorType(13, "Q5_K", 256, 176),
        TensorType(14, "Q6_K", 256, 210),
        TensorType(23, "IQ4_XS", 256, 136),
        TensorType(21, "IQ3_S", 256, 110),
        TensorType(18, "IQ3_XXS", 256, 98),
        TensorType(22, "IQ2_S", 256, 82),
        TensorType(17, "IQ2_XS", 256, 74),
        TensorType(16, "IQ2_XXS", 256, 66),
        TensorType(29, "IQ1_M", 256, 56),
        TensorType(19, "IQ1_S", 256, 50),
        TensorType(35, "TQ2_0", 256, 66),
        TensorType(34, "TQ1_0", 256, 54),
        TensorType(9, "Q8_1", 32, 36, has_kernels=False),
        TensorType(15, "Q8_K", 256, 292, has_kernels=False),
        TensorType(40, "NVFP4", 64, 36, has_kernels=False),
        TensorType(41, "Q1_0", 128, 18, has_kernels=False),
        TensorType(42, "Q2_0", 64, 18, has_kernels=False),
        TensorType(24, "I8", 1, 1, has_kernels=False),
        TensorType(25, "I16", 1, 2, has_kernels=False),
        TensorType(26, "I32", 1, 4, has_kernels=False),
        TensorType(27, "I64", 1, 8, has_kernels=False),
        TensorType(28, "F64", 1, 8, has_kernels=False),
    )
}
"""All types of GGUF, by name."""

KERNEL_TYPES = {name: known for name, known in TENSOR_TYPES.items() if known.has_kernels}
"""The types whose matrices can be multiplied, by name."""

TRANSCODED_TYPES = {
    **{
        name: TensorType(IN_MEMORY_ONLY, NIBBLES + name, 256, 128 + 256 // group + 4)
        for name, group in {
            "IQ3_S": 32, "IQ3_XXS": 32, "IQ2_S": 16, "IQ2_XS": 16, "IQ2_XXS": 32, "IQ1_M": 16, "IQ1_S": 32
        }.items()
    },
    "TQ1_0": TENSOR_TYPES["TQ2_0"],
}  # fmt: skip
"""By the names of low-bit types, what their weights can be turned into when they are loaded: nibbles
(`formats/unpack/nibbles.py`), or digits that lie ready."""

MATRIX_TYPES = KERNEL_TYPES | {known.name: known for known in TRANSCODED_TYPES.values()}
"""The types that matrices in memory can have, by name."""

TYPE_NAMES = {known.number: known.name for known in TENSOR_TYPES.values()}
"""Names of all types, by the numbers that stand for them in files."""
