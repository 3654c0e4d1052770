"""Weights of eight bits with scales beside them, as safetensors checkpoints have them, to floats.

    F8_E4M3   sign 1 | exponent 4, bias 7 | fraction 3     no infinities; 0x7F and 0xFF are no numbers
    I8        two's complement

Sources: Micikevicius et al., arXiv:2209.05433 (E4M3); the format's names at
https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import numpy as np

from ..arrays import address_of, copy_of
from ..jit.store import kernel, packed
from .scaled_codes_arguments import DecodeRows


def _e4m3_values() -> np.ndarray:
    codes = np.arange(256)
    exponent, fraction = codes >> 3 & 15, codes & 7
    values = np.where(exponent, (8 + fraction) * 2.0 ** (exponent - 10), fraction * 2.0**-9)
    values[codes & 0x7F == 0x7F] = np.nan
    return np.where(codes & 0x80, -values, values)


CODE_VALUES = {
    "F8_E4M3": copy_of(_e4m3_values(), np.float32),
    "I8": copy_of(np.arange(256).astype(np.uint8).view(np.int8), np.float32),
}
"""What each of a type's 256 codes stands for, float32 (256,), by safetensors' names of the types."""


def decode_rows(
    codes: np.ndarray,
    type_name: str,
    scales: np.ndarray,
    block: tuple[int, int],
    first_row: int,
    out: np.ndarray,
) -> None:
    """out[r, c] = value of codes[r, c] * scales[(first_row + r) // block[0], c // block[1]], in float32.

    codes: uint8 (n_rows, columns), rows `first_row` and on of a matrix. scales: float32, of all its blocks,
    the last of which may be cut off. out: float32 (n_rows, columns). All C-contiguous. Runs on the calling
    thread, without the GIL. Raises ValueError for arguments that do not fit together.
    """
    n_rows, columns = codes.shape
    blocks = -(-(first_row + n_rows) // block[0]), -(-columns // block[1])
    if scales.ndim != 2 or scales.shape[0] < blocks[0] or scales.shape[1] != blocks[1]:
        raise ValueError(
            f"scales {scales.shape} do not fit {(first_row + n_rows, columns)} in blocks of {block}"
        )
    arrays = ((codes, np.uint8), (scales, np.float32), (out, np.float32))
    if out.shape != codes.shape or any(a.dtype != kind or not a.flags.c_contiguous for a, kind in arrays):
        raise ValueError("codes, scales or output have another shape or type, or are not contiguous")
    record = packed(
        DecodeRows,
        codes=address_of(codes),
        n_rows=n_rows,
        columns=columns,
        table=address_of(CODE_VALUES[type_name]),
        scales=address_of(scales),
        first_row=first_row,
        block_rows=block[0],
        block_columns=block[1],
        blocks_in_row=blocks[1],
        out=address_of(out),
    )
    kernel("formats.scaled_codes_kernel.rows")(address_of(record))
