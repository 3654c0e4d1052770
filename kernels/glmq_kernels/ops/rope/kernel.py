"""Rotary position embedding (Su et al., arXiv:2104.09864), q/k norms, and storing keys and values."""

from __future__ import annotations

import math
from typing import Any

from ...simd.addresses import argument, float_argument, inline, load_f32, store_f32
from ...simd.mathematics import nan_unless_finite
from ...simd.vectors import load_f32x16, splat_f32x16, store
from ...threads.argument_record import STATE
from ..attention.kv_cache import make_stores
from ..batch_state import CAPACITY, KEYS, N_PAST, N_TOKENS, VALUES
from ..norm.kernel import inverse_rms, scale_row
from .arguments import RotateAndStore


@inline
def _rotate(head, cosines, sines, n_rotated, interleaved):
    """Rotate pairs (i, i + n/2), or neighbours where `interleaved`."""
    half = n_rotated // 2
    whole = 0 if interleaved else half // 16 * 16
    for i in range(0, whole, 16):
        a, b = head + 4 * i, head + 4 * (i + half)
        cosine, sine = load_f32x16(cosines + 4 * i), load_f32x16(sines + 4 * i)
        first, second = load_f32x16(a), load_f32x16(b)
        store(a, first * cosine - second * sine)
        store(b, second * cosine + first * sine)
    for i in range(whole, half):
        a = head + (8 * i if interleaved else 4 * i)
        b = a + (4 if interleaved else 4 * half)
        c, s = load_f32(cosines + 4 * i), load_f32(sines + 4 * i)
        x, y = load_f32(a), load_f32(b)
        store_f32(a, x * c - y * s)
        store_f32(b, y * c + x * s)


def rotate_and_store(cache_type: str) -> Any:
    """Kernel: norm, rotate and scale queries in place; norm and rotate keys, store keys and values.

    Arguments: state, q, k, v (float32 (n, heads * head_dim)), n_heads, n_kv_heads, head_dim, rotated
    dimensions, interleaved (0 or 1), cosines, sines (float32 (n, rotated / 2)), q norm weight, k norm
    weight (0: none), epsilon (float), number of this layer in the cache, bytes of a position there.
    """
    store_key, store_value = make_stores(cache_type)

    @inline
    def head_of_cache(args, cache, kv_head):
        """Address of a kv head's part of a cache."""
        number = (
            argument(args, RotateAndStore.CACHE_LAYER) * argument(args, RotateAndStore.N_KV_HEADS) + kv_head
        )
        return cache + number * argument(args, RotateAndStore.POSITION_BYTES) * argument(
            argument(args, STATE), CAPACITY
        )

    def kernel(args, thread, threads):
        state = argument(args, STATE)
        n, n_past = argument(state, N_TOKENS), argument(state, N_PAST)
        n_heads, n_kv_heads, head_dim = (
            argument(args, RotateAndStore.N_HEADS),
            argument(args, RotateAndStore.N_KV_HEADS),
            argument(args, RotateAndStore.HEAD_DIM),
        )
        units = (n_heads + 2 * n_kv_heads) * n
        for unit in range(units * thread // threads, units * (thread + 1) // threads):
            head, t = unit // n, unit % n
            if head < n_heads:
                row = argument(args, RotateAndStore.Q) + 4 * head_dim * (t * n_heads + head)
                _norm_and_rotate(args, row, t, argument(args, RotateAndStore.Q_NORM))
                _scale(row, head_dim, 1 / math.sqrt(head_dim))
            elif head < n_heads + n_kv_heads:
                kv_head = head - n_heads
                row = argument(args, RotateAndStore.K) + 4 * head_dim * (t * n_kv_heads + kv_head)
                _norm_and_rotate(args, row, t, argument(args, RotateAndStore.K_NORM))
                store_key(row, head_of_cache(args, argument(state, KEYS), kv_head), n_past + t, head_dim)
            else:
                kv_head = head - n_heads - n_kv_heads
                row = argument(args, RotateAndStore.V) + 4 * head_dim * (t * n_kv_heads + kv_head)
                store_value(row, head_of_cache(args, argument(state, VALUES), kv_head), n_past + t, head_dim)

    return kernel


@inline
def _norm_and_rotate(args, row, t, weight):
    head_dim, n_rotated = argument(args, RotateAndStore.HEAD_DIM), argument(args, RotateAndStore.N_ROTATED)
    if weight:
        scale_row(
            row,
            weight,
            inverse_rms(row, head_dim, float_argument(args, RotateAndStore.EPSILON)),
            row,
            0,
            head_dim,
        )
    offset = 4 * (n_rotated // 2) * t
    _rotate(
        row,
        argument(args, RotateAndStore.COSINES) + offset,
        argument(args, RotateAndStore.SINES) + offset,
        n_rotated,
        argument(args, RotateAndStore.INTERLEAVED),
    )


@inline
def _scale(row, columns, factor):
    factors = splat_f32x16(factor)
    for i in range(0, columns, 16):
        store(row + 4 * i, nan_unless_finite(load_f32x16(row + 4 * i) * factors))
