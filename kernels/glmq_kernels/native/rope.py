"""Rotary position embedding (Su et al., arXiv:2104.09864), q/k norms, and storing keys and values.

The KV cache is float16. Of each layer and kv head:

    keys     [capacity / 16][head_dim][16 positions]   so that a dot product has a position per lane
    values   [capacity][head_dim]
"""

from __future__ import annotations

import math

from ..slots import CAPACITY, KEYS, N_PAST, N_TOKENS, VALUES
from .conversions import float_to_half
from .memory import argument, float_argument, inline, load_f32, store_f32
from .norm import inverse_rms, scale_row
from .simd import load_f32x16, store, store_lanes


@inline
def _rotate(head, cosines, sines, n_rotated, interleaved):
    """Rotate pairs (i, i + n/2), or neighbours where `interleaved`."""
    half = n_rotated // 2
    for i in range(half):
        a = head + (8 * i if interleaved else 4 * i)
        b = a + (4 if interleaved else 4 * half)
        c, s = load_f32(cosines + 4 * i), load_f32(sines + 4 * i)
        x, y = load_f32(a), load_f32(b)
        store_f32(a, x * c - y * s)
        store_f32(b, y * c + x * s)


def rotate_and_store(args, thread, threads):
    """Norm, rotate and scale queries in place; norm and rotate keys, store keys and values.

    Arguments: state, q, k, v (float32 (n, heads * head_dim)), n_heads, n_kv_heads, head_dim, rotated
    dimensions, interleaved (0 or 1), cosines, sines (float32 (n, rotated / 2)), q norm weight, k norm
    weight (0: none), epsilon (float), number of this layer in the cache.
    """
    state = argument(args, 0)
    n, n_heads, n_kv_heads, head_dim = (
        argument(state, N_TOKENS),
        argument(args, 4),
        argument(args, 5),
        argument(args, 6),
    )
    units = (n_heads + 2 * n_kv_heads) * n
    for unit in range(units * thread // threads, units * (thread + 1) // threads):
        head, t = unit // n, unit % n
        if head < n_heads:
            row = argument(args, 1) + 4 * head_dim * (t * n_heads + head)
            _norm_and_rotate(args, row, t, argument(args, 11))
            _scale(row, head_dim, 1 / math.sqrt(head_dim))
        elif head < n_heads + n_kv_heads:
            row = argument(args, 2) + 4 * head_dim * (t * n_kv_heads + head - n_heads)
            _norm_and_rotate(args, row, t, argument(args, 12))
            _store_key(args, row, head - n_heads, t)
        else:
            kv_head = head - n_heads - n_kv_heads
            _store_value(args, argument(args, 3) + 4 * head_dim * (t * n_kv_heads + kv_head), kv_head, t)


@inline
def _norm_and_rotate(args, row, t, weight):
    head_dim, n_rotated = argument(args, 6), argument(args, 7)
    if weight:
        scale_row(row, weight, inverse_rms(row, head_dim, float_argument(args, 13)), row, 0, head_dim)
    offset = 4 * (n_rotated // 2) * t
    _rotate(row, argument(args, 9) + offset, argument(args, 10) + offset, n_rotated, argument(args, 8))


@inline
def _scale(row, columns, factor):
    for i in range(columns):
        store_f32(row + 4 * i, load_f32(row + 4 * i) * factor)


@inline
def _cache_head(args, cache, kv_head):
    """Address of a kv head's part of a cache."""
    return cache + 2 * argument(args, 6) * argument(argument(args, 0), CAPACITY) * (
        argument(args, 14) * argument(args, 5) + kv_head
    )


@inline
def _store_key(args, row, kv_head, t):
    state, head_dim = argument(args, 0), argument(args, 6)
    position = argument(state, N_PAST) + t
    block = _cache_head(args, argument(state, KEYS), kv_head) + position // 16 * head_dim * 32
    for i in range(0, head_dim, 16):
        store_lanes(block + 32 * i + 2 * (position % 16), float_to_half(load_f32x16(row + 4 * i)), 32)


@inline
def _store_value(args, row, kv_head, t):
    state, head_dim = argument(args, 0), argument(args, 6)
    at = _cache_head(args, argument(state, VALUES), kv_head) + 2 * head_dim * (argument(state, N_PAST) + t)
    for i in range(0, head_dim, 16):
        store(at + 2 * i, float_to_half(load_f32x16(row + 4 * i)))
