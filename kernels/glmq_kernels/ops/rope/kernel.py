"""Rotary position embedding (Su et al., arXiv:2104.09864), q/k norms, and storing keys and values."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, float_argument, inline, load_f32, load_i64, store_f32
from ...simd.mathematics import nan_unless_finite
from ...simd.vectors import load_f32x16, splat_f32x16, store
from ...threads.argument_record import STATE
from ..attention.cache_layout import POSITIONS_PER_PAGE as PAGE
from ..attention.cache_layout import types_of
from ..attention.hadamard import hadamard
from ..attention.rows import keep_value_finite, make_store_key, make_store_row
from ..batch_state import N_TOKENS, PAGE_TABLES, POSITIONS
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


def rotate_and_store(cache_type: str, values_place: str) -> Any:
    """Kernel: norm, rotate and scale queries in place; norm and rotate keys, store keys and values.

    values_place: `apart`, or `in_keys` where only keys are stored. Takes `RotateAndStore`.
    """
    in_keys, (key_type, value_type) = values_place == "in_keys", types_of(cache_type)
    store_key = make_store_row(key_type) if in_keys else make_store_key(key_type)
    store_value = make_store_row(value_type)

    @inline
    def cached_head(args, t, kv_head):
        """Where the keys of a kv head begin in the page of a token, and its place there."""
        state = argument(args, STATE)
        position = load_i64(argument(state, POSITIONS) + 8 * t)
        page = load_i64(load_i64(argument(state, PAGE_TABLES) + 8 * t) + 8 * (position // PAGE))
        at = argument(args, RotateAndStore.LAYER_AT) + kv_head * argument(args, RotateAndStore.HEAD_BYTES)
        return page + at, position % PAGE

    def kernel(args, thread, threads):
        n = argument(argument(args, STATE), N_TOKENS)
        n_heads, n_kv_heads = (
            argument(args, RotateAndStore.N_HEADS),
            argument(args, RotateAndStore.N_KV_HEADS),
        )
        query_dim = argument(args, RotateAndStore.QUERY_DIM)
        key_dim, value_dim = argument(args, RotateAndStore.KEY_DIM), argument(args, RotateAndStore.VALUE_DIM)
        query_from = argument(args, RotateAndStore.QUERY_ROTATED_FROM)
        key_from = argument(args, RotateAndStore.KEY_ROTATED_FROM)
        units = (n_heads + n_kv_heads) * n
        for unit in range(units * thread // threads, units * (thread + 1) // threads):
            head, t = unit // n, unit % n
            if head < n_heads:
                row = argument(args, RotateAndStore.Q) + 4 * query_dim * (t * n_heads + head)
                _norm_and_rotate(args, row, t, query_from, argument(args, RotateAndStore.Q_NORM))
                _scale(row, query_dim, float_argument(args, RotateAndStore.SCALE))
            else:
                kv_head = head - n_heads
                key = argument(args, RotateAndStore.K) + 4 * key_dim * (t * n_kv_heads + kv_head)
                _norm_and_rotate(args, key, t, key_from, argument(args, RotateAndStore.K_NORM))
                value, value_block = key, argument(args, RotateAndStore.VALUE_BLOCK)
                if not in_keys:
                    value = argument(args, RotateAndStore.V) + 4 * value_dim * (t * n_kv_heads + kv_head)
                    if value_block:
                        hadamard(value, value_dim, value_block)
                if argument(args, RotateAndStore.KEY_BLOCK):
                    hadamard(key, key_dim, argument(args, RotateAndStore.KEY_BLOCK))
                keep_value_finite(value, value_dim, key, key_dim)
                keys, place = cached_head(args, t, kv_head)
                store_key(key, keys, place, key_dim)
                if not in_keys:
                    store_value(value, keys + argument(args, RotateAndStore.VALUES_AT), place, value_dim)

    return kernel


@inline
def _norm_and_rotate(args, row, t, rotated_from, weight):
    normed, n_rotated = argument(args, RotateAndStore.NORMED), argument(args, RotateAndStore.N_ROTATED)
    if weight:
        factor = inverse_rms(row, normed, float_argument(args, RotateAndStore.EPSILON))
        scale_row(row, weight, factor, row, 0, normed)
    offset = 4 * (n_rotated // 2) * t
    _rotate(
        row + 4 * rotated_from,
        argument(args, RotateAndStore.COSINES) + offset,
        argument(args, RotateAndStore.SINES) + offset,
        n_rotated,
        argument(args, RotateAndStore.INTERLEAVED),
    )


@inline
def _scale(row, columns, factor):
    factors, whole = splat_f32x16(factor), columns // 16 * 16
    for i in range(0, whole, 16):
        store(row + 4 * i, nan_unless_finite(load_f32x16(row + 4 * i) * factors))
    for i in range(whole, columns):
        x = load_f32(row + 4 * i) * factor
        store_f32(row + 4 * i, x + (x - x))  # NaN unless finite
