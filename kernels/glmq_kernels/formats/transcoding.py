"""Weights of low-bit types in a form that has the same values, is multiplied faster and takes more room."""

from __future__ import annotations

import numpy as np

from ..arrays import address_of
from ..jit.store import kernel, packed
from .tensor_types import KERNEL_TYPES, TRANSCODED_TYPES
from .transcoding_arguments import TranscodeBlocks


def kernel_name(type_name: str) -> str:
    """Of the kernel that transcodes a type."""
    return f"formats.transcoding_kernel.blocks:{type_name}"


def transcode(blocks: np.ndarray, type_name: str, out: np.ndarray) -> None:
    """Turn blocks of a type of `TRANSCODED_TYPES` into those of the type that it names.

    blocks: uint8 (n bytes,) of whole blocks. out: uint8, the bytes of as many new ones. Both C-contiguous.
    Runs on the calling thread, without the GIL. Raises ValueError for arguments that do not fit together.
    """
    size, new_size = KERNEL_TYPES[type_name].block_bytes, TRANSCODED_TYPES[type_name].block_bytes
    n_blocks, rest = divmod(blocks.size, size)
    if rest or out.size != n_blocks * new_size:
        raise ValueError(f"{blocks.size} bytes of {type_name} do not become {out.size} bytes")
    if any(each.dtype != np.uint8 or not each.flags.c_contiguous for each in (blocks, out)):
        raise ValueError("blocks or output are not contiguous bytes")
    record = packed(TranscodeBlocks, blocks=address_of(blocks), n_blocks=n_blocks, out=address_of(out))
    kernel(kernel_name(type_name))(address_of(record))
