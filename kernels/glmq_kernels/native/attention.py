"""Causal attention over the KV cache by online softmax (Milakov and Gimelshein, arXiv:1805.02867).

A unit of work is a *group* of up to `rows` query rows of one kv head (all its query heads, of one or
more tokens), so that each key and value is read once for all of them, over one part of the positions.
Where there are fewer groups than threads keep busy, positions are split too; the parts are brought
together by `finish`.
"""

from __future__ import annotations

from typing import Any

from ..slots import ACTIVATION_ROWS, CAPACITY, KEYS, N_PAST, N_TOKENS, VALUES
from .activation import TILE, prepare
from .conversions import half_to_float
from .mathematics import exp
from .memory import argument, inline, load_f32, store_f32
from .simd import (
    first_lane,
    fma,
    keep_lanes,
    load_f32x16,
    load_i16x16,
    max_lane,
    maximum,
    splat_f32x16,
    store,
    store_lanes,
    sum_lanes,
    zero_f32x16,
)
from .tile import make_accumulators, make_outer_step

CHUNK = 64
"""Positions between two corrections of the sums, a multiple of 16."""
LEAST_SPLIT = 256
"""Fewer positions than this are not worth splitting."""
NOTHING = -1.0e30


@inline
def count_splits(n, n_units, n_positions, threads):
    """Into how many parts the positions are split."""
    if n > 1 or n_units % threads == 0 or n_positions < LEAST_SPLIT:
        return 1
    return threads


def attend(row_count: str) -> Any:
    """Kernel: attention of a batch, for groups of up to `row_count` rows.

    Arguments: state, q (float32 (n, n_heads * head_dim), scaled), out (float32, the same shape),
    n_heads, n_kv_heads, head_dim, number of this layer in the cache, partial results (float32
    (splits, n_heads, head_dim + 2)), scratch, scratch bytes of a thread.
    """
    rows = int(row_count)
    zero, load, save = make_accumulators(1, rows)
    add_outer = make_outer_step(rows)

    @inline
    def pack_queries(args, first, n_flat, kv_head, packed):
        """The group's queries as [head_dim][rows]; rows past the last repeat it."""
        n_heads, n_kv_heads, head_dim = argument(args, 3), argument(args, 4), argument(args, 5)
        heads = n_heads // n_kv_heads
        for i in range(rows):
            flat = min(first + i, n_flat - 1)
            row = argument(args, 1) + 4 * head_dim * (
                flat // heads * n_heads + kv_head * heads + flat % heads
            )
            for d in range(head_dim):
                store_f32(packed + 4 * (d * rows + i), load_f32(row + 4 * d))

    @inline
    def score(queries, keys, head_dim, scores):
        """Products of 16 keys with all rows: float32 [rows][16]."""
        sums = zero()
        for d in range(head_dim):
            sums = add_outer(sums, half_to_float(load_i16x16(keys + 32 * d)), queries + 4 * rows * d)
        save(scores, sums)

    @inline
    def soften(scores, probabilities, limits, state_of_row, position, count):
        """Scores [block][rows][16] to probabilities [position][rows]; largest, sum and factor of each row."""
        for i in range(rows):
            limit = int(load_f32(limits + 4 * i)) - position
            largest = splat_f32x16(NOTHING)
            for b in range(0, count, 16):
                at = scores + 64 * (b // 16 * rows + i)
                block = keep_lanes(load_f32x16(at), limit - b, splat_f32x16(NOTHING))
                store(at, block)
                largest = maximum(largest, block)
            before = load_f32(state_of_row + 12 * i)
            now = max(before, max_lane(largest))
            total = zero_f32x16()
            for b in range(0, count, 16):
                p = exp(load_f32x16(scores + 64 * (b // 16 * rows + i)) - splat_f32x16(now))
                p = keep_lanes(p, limit - b, zero_f32x16())
                total = total + p
                store_lanes(probabilities + 4 * (b * rows + i), p, 4 * rows)
            factor = first_lane(exp(splat_f32x16(before - now)))
            store_f32(state_of_row + 12 * i, now)
            store_f32(
                state_of_row + 12 * i + 4, load_f32(state_of_row + 12 * i + 4) * factor + sum_lanes(total)
            )
            store_f32(state_of_row + 12 * i + 8, factor)

    @inline
    def add_values(values, probabilities, head_dim, count, out, state_of_row):
        """Out [head_dim / 16][rows][16] = out * factor + probabilities x values."""
        for d in range(0, head_dim, 16):
            at = out + 4 * d * rows
            for i in range(rows):
                factor = splat_f32x16(load_f32(state_of_row + 12 * i + 8))
                store(at + 64 * i, load_f32x16(at + 64 * i) * factor)
            sums = load(at)
            for j in range(count):
                value = half_to_float(load_i16x16(values + 2 * (j * head_dim + d)))
                sums = add_outer(sums, value, probabilities + 4 * rows * j)
            save(at, sums)

    @inline
    def one_unit(args, kv_head, first, n_flat, begin, end, split, splits, scratch):
        state, head_dim = argument(args, 0), argument(args, 5)
        n_heads, n_kv_heads = argument(args, 3), argument(args, 4)
        heads, n_past, capacity = n_heads // n_kv_heads, argument(state, N_PAST), argument(state, CAPACITY)
        cache = 2 * head_dim * capacity * (argument(args, 6) * n_kv_heads + kv_head)
        keys, values = argument(state, KEYS) + cache, argument(state, VALUES) + cache
        queries = scratch
        scores = queries + 4 * head_dim * rows
        probabilities = scores + 4 * CHUNK * rows
        out = probabilities + 4 * CHUNK * rows
        state_of_row = out + 4 * head_dim * rows
        limits = state_of_row + 12 * rows
        pack_queries(args, first, n_flat, kv_head, queries)
        for i in range(rows):
            store_f32(limits + 4 * i, float(n_past + min(first + i, n_flat - 1) // heads + 1))
            store_f32(state_of_row + 12 * i, NOTHING)
            store_f32(state_of_row + 12 * i + 4, 0.0)
        for i in range(0, head_dim * rows, 16):
            store(out + 4 * i, zero_f32x16())
        for position in range(begin, end, CHUNK):
            count = min(CHUNK, end - position)
            for b in range(0, count, 16):
                score(queries, keys + 2 * head_dim * (position + b), head_dim, scores + 4 * b * rows)
            soften(scores, probabilities, limits, state_of_row, position, count)
            add_values(values + 2 * head_dim * position, probabilities, head_dim, count, out, state_of_row)
        for i in range(min(rows, n_flat - first)):
            flat = first + i
            head = kv_head * heads + flat % heads
            if splits == 1:
                row = argument(args, 2) + 4 * head_dim * (flat // heads * n_heads + head)
                factor = splat_f32x16(1 / load_f32(state_of_row + 12 * i + 4))
            else:
                row = argument(args, 7) + 4 * (head_dim + 2) * (split * n_heads + head) + 8
                store_f32(row - 8, load_f32(state_of_row + 12 * i))
                store_f32(row - 4, load_f32(state_of_row + 12 * i + 4))
                factor = splat_f32x16(1.0)
            for d in range(0, head_dim, 16):
                store(row + 4 * d, load_f32x16(out + 4 * (d * rows + 16 * i)) * factor)

    def kernel(args, thread, threads):
        state, n_heads, n_kv_heads = argument(args, 0), argument(args, 3), argument(args, 4)
        scratch = argument(args, 8) + thread * argument(args, 9)
        n, n_past = argument(state, N_TOKENS), argument(state, N_PAST)
        heads = n_heads // n_kv_heads
        n_flat = n * heads
        groups = (n_flat + rows - 1) // rows
        splits = count_splits(n, groups * n_kv_heads, n_past + n, threads)
        for unit in range(thread, groups * n_kv_heads * splits, threads):
            split, group = unit % splits, unit // splits % groups
            kv_head = unit // splits // groups
            end = n_past + (min((group + 1) * rows, n_flat) - 1) // heads + 1
            blocks = (end + 15) // 16
            begin = blocks * split // splits * 16
            end = min(end, blocks * (split + 1) // splits * 16)
            one_unit(args, kv_head, group * rows, n_flat, begin, end, split, splits, scratch)

    return kernel


def finish(args, thread, threads):
    """Bring split results together and prepare the attention's output for the next product.

    Arguments: state, activation (its rows are the output), n_heads, n_kv_heads, head_dim, partial
    results, rows of a group, heads that make whole blocks of 32 columns.
    """
    state, activation = argument(args, 0), argument(args, 1)
    n_heads, n_kv_heads, head_dim = argument(args, 2), argument(args, 3), argument(args, 4)
    n, rows = argument(state, N_TOKENS), argument(args, 6)
    if n == 1:
        n_positions = argument(state, N_PAST) + 1
        groups = (n_heads // n_kv_heads + rows - 1) // rows
        splits = count_splits(1, groups * n_kv_heads, n_positions, threads)
        per_unit = argument(args, 7)
        units = (n_heads + per_unit - 1) // per_unit
        for unit in range(units * thread // threads, units * (thread + 1) // threads):
            last_head = min((unit + 1) * per_unit, n_heads)
            if splits > 1:
                for head in range(unit * per_unit, last_head):
                    _join(args, head, splits, argument(activation, ACTIVATION_ROWS) + 4 * head_dim * head)
            prepare(activation, 0, -1, 0, unit * per_unit * head_dim, last_head * head_dim)
    else:
        for t in range(n * thread // threads, n * (thread + 1) // threads):
            prepare(activation, t, t // TILE, t % TILE, 0, n_heads * head_dim)


@inline
def _join(args, head, splits, out):
    n_heads, head_dim, partial = argument(args, 2), argument(args, 4), argument(args, 5)
    size = 4 * (head_dim + 2)
    largest = NOTHING
    for s in range(splits):
        largest = max(largest, load_f32(partial + size * (s * n_heads + head)))
    total = 0.0
    for d in range(0, head_dim, 16):
        store(out + 4 * d, zero_f32x16())
    for s in range(splits):
        part = partial + size * (s * n_heads + head)
        factor = first_lane(exp(splat_f32x16(load_f32(part) - largest)))
        total += factor * load_f32(part + 4)
        for d in range(0, head_dim, 16):
            at = out + 4 * d
            store(at, fma(load_f32x16(part + 8 + 4 * d), splat_f32x16(factor), load_f32x16(at)))
    for d in range(0, head_dim, 16):
        store(out + 4 * d, load_f32x16(out + 4 * d) * splat_f32x16(1 / total))
