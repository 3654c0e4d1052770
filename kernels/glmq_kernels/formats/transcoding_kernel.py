"""Low-bit weights to nibbles, or where there are three values to two bits."""

from __future__ import annotations

from typing import Any

from ..simd.addresses import argument, inline, load_i16, store_f32, store_i16
from ..simd.conversions import narrow_to_i8
from ..simd.vectors import (
    bitcast_i8x32,
    bitcast_i16x16,
    high_half_i8x64,
    i16x16,
    low_half_i8x64,
    make_constant,
    store,
)
from .tensor_types import KERNEL_TYPES, TRANSCODED_TYPES
from .transcoding_arguments import TranscodeBlocks
from .unpack import tq1_0
from .unpack.nibbles import MULTIPLES, nibbles_of

two, four, six = (make_constant(i16x16, [shift] * 16) for shift in (2, 4, 6))


def blocks(format_name: str) -> Any:
    """Kernel: blocks of a type to those of what it becomes."""
    size, new_size = KERNEL_TYPES[format_name].block_bytes, TRANSCODED_TYPES[format_name].block_bytes
    transcode = _tq1_0_to_tq2_0 if format_name == "TQ1_0" else _make_to_nibbles(format_name)

    def kernel(args, thread, threads):
        p, out = argument(args, TranscodeBlocks.BLOCKS), argument(args, TranscodeBlocks.OUT)
        for _ in range(argument(args, TranscodeBlocks.N_BLOCKS)):
            transcode(p, out)
            p += size
            out += new_size

    return kernel


def _make_to_nibbles(format_name: str) -> Any:
    """`transcode(p, out)`: a block to what `formats/unpack/nibbles.py` draws."""
    nibbles = nibbles_of(format_name)
    unpack, few_values = nibbles.source.unpack, nibbles.source.few_values
    multiples, factor = few_values.multiples, few_values.factor
    pack, factor_at = nibbles.pack, nibbles.BYTES - 4

    @inline
    def transcode(p, out):
        weights, _, _ = unpack(p)
        pack(weights, out)
        store(out + MULTIPLES, narrow_to_i8(multiples(p)))
        store_f32(out + factor_at, factor(p))

    return transcode


@inline
def _four_runs(first, last):
    """128 weights of two bits in 32 bytes, each run of 32 two bits higher."""
    a, b = bitcast_i16x16(low_half_i8x64(first, first)), bitcast_i16x16(high_half_i8x64(first, first))
    c, d = bitcast_i16x16(low_half_i8x64(last, last)), bitcast_i16x16(high_half_i8x64(last, last))
    return bitcast_i8x32(a | (b << two()) | (c << four()) | (d << six()))


@inline
def _tq1_0_to_tq2_0(p, out):
    weights, _, _ = tq1_0.unpack(p)
    store(out, _four_runs(weights[0], weights[1]))
    store(out + 32, _four_runs(weights[2], weights[3]))
    store_i16(out + 64, load_i16(p + 52))
