"""Low-bit weights to nibbles."""

from __future__ import annotations

from typing import Any

from ..simd.addresses import argument, store_f32
from ..simd.conversions import narrow_to_i8
from ..simd.vectors import store
from .transcoding_arguments import TranscodeBlocks
from .unpack.nibbles import MULTIPLES, nibbles_of


def blocks(format_name: str) -> Any:
    """Kernel: blocks of a type to what `formats/unpack/nibbles.py` draws."""
    nibbles = nibbles_of(format_name)
    unpack, size = nibbles.source.unpack, nibbles.source.BYTES
    multiples, factor = nibbles.source.few_values.multiples, nibbles.source.few_values.factor
    pack, new_size = nibbles.pack, nibbles.BYTES

    def kernel(args, thread, threads):
        p, out = argument(args, TranscodeBlocks.BLOCKS), argument(args, TranscodeBlocks.OUT)
        for _ in range(argument(args, TranscodeBlocks.N_BLOCKS)):
            weights, _, _ = unpack(p)
            pack(weights, out)
            store(out + MULTIPLES, narrow_to_i8(multiples(p)))
            store_f32(out + new_size - 4, factor(p))
            p += size
            out += new_size

    return kernel
