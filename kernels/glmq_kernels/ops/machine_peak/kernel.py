"""What the machine can do at most: reading memory, and int8 dot products."""

from __future__ import annotations

from ...gemm.row_units import STREAMS, stream_ahead
from ...simd.addresses import argument, prefetch
from ...simd.dot import make_dot
from ...simd.pair_products import multiply_bytes as multiply_pairs
from ...simd.vectors import (
    bitcast_i8x32,
    load_i8x32,
    load_i8x64,
    load_i64x8,
    splat_i8x64,
    store,
    zero_i32x16,
    zero_i64x8,
)
from ...threads.work_units import take
from .arguments import MultiplyBytes, ReadMemory

LINES = 256
"""Of a unit of work, 256 bytes each."""

dot = make_dot(wide=False)


def read_memory(args, thread, threads):
    """Kernel: read every byte of a region once, in pieces that threads take as they get free.

    In four streams, as products read their rows (`gemm/row_units.py`).
    """
    start, lines = argument(args, ReadMemory.ADDRESS), argument(args, ReadMemory.N_BYTES) // 256
    a, b, c, d = zero_i64x8(), zero_i64x8(), zero_i64x8(), zero_i64x8()
    n_units = (lines + LINES - 1) // LINES
    first, last = take(args, n_units, threads)
    while first < last:
        for unit in range(first, last):
            p = start + 256 * LINES * unit
            stream_bytes = 64 * min(LINES, lines - LINES * unit)
            end = p + stream_bytes
            while p < end:
                ahead = p + stream_ahead(p, end, 3 * stream_bytes)
                for stream in range(STREAMS):
                    prefetch(ahead + stream * stream_bytes)
                a = a ^ load_i64x8(p)
                b = b ^ load_i64x8(p + stream_bytes)
                c = c ^ load_i64x8(p + 2 * stream_bytes)
                d = d ^ load_i64x8(p + 3 * stream_bytes)
                p += 64
        first, last = take(args, n_units, threads)
    store(argument(args, ReadMemory.OUT) + 64 * thread, (a ^ b) ^ (c ^ d))


def multiply_bytes(args, thread, threads):
    """Kernel: 8 chains of dot products."""
    u, s = splat_i8x64(1), load_i8x64(argument(args, MultiplyBytes.FACTORS))
    a, b, c, d = zero_i32x16(), zero_i32x16(), zero_i32x16(), zero_i32x16()
    e, f, g, h = zero_i32x16(), zero_i32x16(), zero_i32x16(), zero_i32x16()
    for _ in range(argument(args, MultiplyBytes.REPETITIONS)):
        a, b, c, d = dot(a, u, s), dot(b, u, s), dot(c, u, s), dot(d, u, s)
        e, f, g, h = dot(e, u, s), dot(f, u, s), dot(g, u, s), dot(h, u, s)
    store(argument(args, MultiplyBytes.OUT) + 64 * thread, ((a + b) + (c + d)) + ((e + f) + (g + h)))


def multiply_byte_pairs(args, thread, threads):
    """Kernel: AVX2's products of bytes alone, 8 chains of which each goes on with what it gave before.

    What adds them up runs beside them, and how often that is needed depends on the format. Chains begin with
    contents of memory: equal ones would be one to the code generator.
    """
    p = argument(args, MultiplyBytes.FACTORS)
    s = load_i8x32(p)
    a, b, c, d = load_i8x32(p + 32), load_i8x32(p + 64), load_i8x32(p + 96), load_i8x32(p + 128)
    e, f, g, h = load_i8x32(p + 160), load_i8x32(p + 192), load_i8x32(p + 224), load_i8x32(p + 256)
    for _ in range(argument(args, MultiplyBytes.REPETITIONS)):
        a, b = bitcast_i8x32(multiply_pairs(a, s)), bitcast_i8x32(multiply_pairs(b, s))
        c, d = bitcast_i8x32(multiply_pairs(c, s)), bitcast_i8x32(multiply_pairs(d, s))
        e, f = bitcast_i8x32(multiply_pairs(e, s)), bitcast_i8x32(multiply_pairs(f, s))
        g, h = bitcast_i8x32(multiply_pairs(g, s)), bitcast_i8x32(multiply_pairs(h, s))
    store(argument(args, MultiplyBytes.OUT) + 64 * thread, ((a + b) + (c + d)) + ((e + f) + (g + h)))
