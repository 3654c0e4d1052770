"""Causal attention over the KV cache by online softmax (Milakov and Gimelshein, arXiv:1805.02867).

The query rows of a kv head are its query heads of one token after the other. A *group* is `rows` of
them, so that each key and value is read once for all. A unit of work is a run of groups over one part of
the positions: a chunk of positions stays in the nearest cache while it meets every group of the run.

    for each chunk of positions that the run's last token sees
        for each group: scores = q k^T, probabilities = softmax of the scores, out = factor * out + p v

Where there are too few units for the threads, positions are split too, and `finish` brings the parts
together.
"""

from __future__ import annotations

from typing import Any

from ...gemm.activation import TILE, prepare
from ...gemm.activation_record import ACTIVATION_ROWS
from ...gemm.sizes import ATTENTION_CHUNK as CHUNK
from ...gemm.sizes import ATTENTION_RUN as RUN
from ...gemm.sizes import FEW
from ...jit import isa
from ...simd.addresses import argument, inline, load_f32, store_f32
from ...simd.mathematics import exp, nan_unless_finite
from ...simd.vectors import (
    first_lane,
    fma,
    keep_lanes,
    load_f32x16,
    max_lane,
    maximum,
    splat_f32x16,
    store,
    sum_lanes,
    zero_f32x16,
)
from ...threads.argument_record import STATE
from ..batch_state import CAPACITY, KEYS, N_PAST, N_TOKENS, VALUES
from .arguments import Attend, Finish
from .kv_cache import make_loads
from .outer import make_outer

LEAST_SPLIT = 256
"""Fewer positions than this are not worth splitting."""
NOTHING = -3.4028234663852886e38
"""Less than every score: the lowest float32."""


@inline
def groups_of_run(n, heads, rows):
    """Of how many groups a run is: for few tokens those of one."""
    return RUN if n > FEW else min(RUN, (heads + rows - 1) // rows)


@inline
def count_splits(n, heads, n_kv_heads, rows, n_positions, threads):
    """Into how many parts the positions are split."""
    run, groups = groups_of_run(n, heads, rows), (n * heads + rows - 1) // rows
    n_units = (groups + run - 1) // run * n_kv_heads
    if n > FEW or n_units % threads == 0 or n_positions < LEAST_SPLIT:
        return 1
    return threads


def _make_scores(rows: int, head_dim: int, cache_type: str) -> Any:
    """`score_32(queries, block, next_block, scores)`: 32 positions' products with all rows."""
    if isa.current().attention_vectors == 1:
        return _make_scores_in_halves(rows, head_dim, cache_type)
    zero, add, _, save = make_outer(2, rows, 4 * head_dim, 4 * CHUNK)
    key_scales, load_keys, _, _ = make_loads(cache_type, head_dim)

    @inline
    def score_32(queries, block, next_block, scores):
        sums = zero()
        for d in range(0, head_dim, 32):
            scales, next_scales = key_scales(block, d // 32), key_scales(next_block, d // 32)
            for i in range(d, min(d + 32, head_dim)):
                keys = load_keys(block, i, scales), load_keys(next_block, i, next_scales)
                sums = add(sums, keys, queries + 4 * i)
        save(scores, sums)

    return score_32


def _make_scores_in_halves(rows: int, head_dim: int, cache_type: str) -> Any:
    zero, add, _, save = make_outer(1, rows, 4 * head_dim, 4 * CHUNK)
    key_scales, load_keys, _, _ = make_loads(cache_type, head_dim)

    @inline
    def score_16(queries, block, scores):
        sums = zero()
        for d in range(0, head_dim, 32):
            scales = key_scales(block, d // 32)
            for i in range(d, min(d + 32, head_dim)):
                sums = add(sums, (load_keys(block, i, scales),), queries + 4 * i)
        save(scores, sums)

    @inline
    def score_32(queries, block, next_block, scores):
        score_16(queries, block, scores)
        score_16(queries, next_block, scores + 64)

    return score_32


def _make_values(rows: int, head_dim: int, cache_type: str) -> Any:
    """`add_values(values, row_bytes, probabilities, count, out)`: out += probabilities x values."""
    _, add_2, load_2, save_2 = make_outer(2, rows, 4 * CHUNK, 4 * head_dim)
    _, add_1, load_1, save_1 = make_outer(1, rows, 4 * CHUNK, 4 * head_dim)
    _, _, value_scale, load_values = make_loads(cache_type, head_dim)
    in_pairs = head_dim // 32 * 32 if isa.current().attention_vectors == 2 else 0

    @inline
    def add_values(values, row_bytes, probabilities, count, out):
        for d in range(0, in_pairs, 32):
            sums = load_2(out + 4 * d)
            for j in range(count):
                row = values + j * row_bytes
                scale = value_scale(row, d // 32)
                both = load_values(row, d, scale), load_values(row, d + 16, scale)
                sums = add_2(sums, both, probabilities + 4 * j)
            save_2(out + 4 * d, sums)
        for d in range(in_pairs, head_dim, 16):
            sum_1 = load_1(out + 4 * d)
            for j in range(count):
                row = values + j * row_bytes
                one = load_values(row, d, value_scale(row, d // 32))
                sum_1 = add_1(sum_1, (one,), probabilities + 4 * j)
            save_1(out + 4 * d, sum_1)

    return add_values


@inline
def _softmax_chunk(scores, out, head_dim, limit, position, count, row_state):
    """A row's scores of a chunk to probabilities in place; its out is scaled to the new largest score.

    limit: positions that the row sees. row_state: its largest score and the sum of probabilities so far.
    """
    largest = splat_f32x16(NOTHING)
    for b in range(0, count, 16):
        block = nan_unless_finite(load_f32x16(scores + 4 * b))
        block = keep_lanes(block, limit - position - b, splat_f32x16(NOTHING))
        store(scores + 4 * b, block)
        largest = maximum(largest, block)
    before = load_f32(row_state)
    now = max(before, max_lane(largest))
    total = zero_f32x16()
    for b in range(0, count, 16):
        p = exp(load_f32x16(scores + 4 * b) - splat_f32x16(now))
        p = keep_lanes(p, limit - position - b, zero_f32x16())
        total = total + p
        store(scores + 4 * b, p)
    factor = exp(splat_f32x16(before - now))
    store_f32(row_state, now)
    store_f32(row_state + 4, load_f32(row_state + 4) * first_lane(factor) + sum_lanes(total))
    if now > before:
        for d in range(0, head_dim, 16):
            store(out + 4 * d, load_f32x16(out + 4 * d) * factor)


def attend(row_count: str, head_size: str, cache_type: str) -> Any:
    """Kernel: attention of a batch, in groups of `row_count` rows.

    Arguments: state, q (float32 (n, n_heads * head_dim), scaled), out (float32, the same shape),
    n_heads, n_kv_heads, number of this layer in the cache, bytes of a position there, partial results
    (float32 (splits, FEW * n_heads, head_dim + 2)), scratch, scratch bytes of a thread.
    """
    rows, head_dim = int(row_count), int(head_size)
    score_32 = _make_scores(rows, head_dim, cache_type)
    add_values = _make_values(rows, head_dim, cache_type)
    # Of each group in scratch: queries, out, and each row's state, all [row][...].
    out_at, state_at = 4 * rows * head_dim, 8 * rows * head_dim
    group_bytes = state_at + 16 * rows
    row_bytes = 4 * head_dim

    @inline
    def row_of(args, array, kv_head, flat):
        """Address of query row `flat` of a kv head in an array of the shape of q."""
        n_heads, n_kv_heads = argument(args, Attend.N_HEADS), argument(args, Attend.N_KV_HEADS)
        heads = n_heads // n_kv_heads
        return array + row_bytes * (flat // heads * n_heads + kv_head * heads + flat % heads)

    @inline
    def begin_group(args, kv_head, first, n_flat, group):
        """Bring a group's queries together; rows past the last repeat it."""
        for i in range(rows):
            source = row_of(args, argument(args, Attend.Q), kv_head, min(first + i, n_flat - 1))
            for d in range(0, row_bytes, 64):
                store(group + row_bytes * i + d, load_f32x16(source + d))
                store(group + out_at + row_bytes * i + d, zero_f32x16())
            store_f32(group + state_at + 16 * i, NOTHING)
            store_f32(group + state_at + 16 * i + 4, 0.0)

    @inline
    def one_chunk(args, group, scores, keys, values, first, n_flat, position, count):
        size = argument(args, Attend.POSITION_BYTES)
        heads = argument(args, Attend.N_HEADS) // argument(args, Attend.N_KV_HEADS)
        n_past = argument(argument(args, STATE), N_PAST)
        for b in range(0, count, 32):
            block = keys + size * (position + b)
            score_32(group, block, block + 16 * size, scores + 4 * b)
        for i in range(rows):
            limit = n_past + min(first + i, n_flat - 1) // heads + 1
            out, row_state = group + out_at + row_bytes * i, group + state_at + 16 * i
            _softmax_chunk(scores + 4 * CHUNK * i, out, head_dim, limit, position, count, row_state)
        add_values(values + size * position, size, scores, count, group + out_at)

    @inline
    def end_group(args, kv_head, first, n_flat, split, splits, group):
        n_heads = argument(args, Attend.N_HEADS)
        for i in range(min(rows, n_flat - first)):
            out, row_state = group + out_at + row_bytes * i, group + state_at + 16 * i
            if splits == 1:
                row = row_of(args, argument(args, Attend.OUT), kv_head, first + i)
                factor = splat_f32x16(1 / load_f32(row_state + 4))
            else:
                number = (row_of(args, 0, kv_head, first + i)) // row_bytes
                row = argument(args, Attend.PARTIAL) + (row_bytes + 8) * (split * FEW * n_heads + number) + 8
                store_f32(row - 8, load_f32(row_state))
                store_f32(row - 4, load_f32(row_state + 4))
                factor = splat_f32x16(1.0)
            for d in range(0, row_bytes, 64):
                store(row + d, load_f32x16(out + d) * factor)

    @inline
    def last_position(args, first, n_flat):
        """Positions that a group's last row sees."""
        heads = argument(args, Attend.N_HEADS) // argument(args, Attend.N_KV_HEADS)
        return argument(argument(args, STATE), N_PAST) + (min(first + rows, n_flat) - 1) // heads + 1

    @inline
    def one_unit(args, kv_head, first_group, n_groups, n_flat, split, splits, scratch):
        state = argument(args, STATE)
        head = (
            argument(state, CAPACITY)
            * argument(args, Attend.POSITION_BYTES)
            * (argument(args, Attend.CACHE_LAYER) * argument(args, Attend.N_KV_HEADS) + kv_head)
        )
        keys, values = argument(state, KEYS) + head, argument(state, VALUES) + head
        scores = scratch + RUN * group_bytes
        for g in range(n_groups):
            begin_group(args, kv_head, (first_group + g) * rows, n_flat, scratch + g * group_bytes)
        end = last_position(args, (first_group + n_groups - 1) * rows, n_flat)
        blocks = (end + 31) // 32
        begin = blocks * split // splits * 32
        end = min(end, blocks * (split + 1) // splits * 32)
        for position in range(begin, end, CHUNK):
            for g in range(n_groups):
                first = (first_group + g) * rows
                count = min(CHUNK, min(end, last_position(args, first, n_flat)) - position)
                if count > 0:
                    group = scratch + g * group_bytes
                    one_chunk(args, group, scores, keys, values, first, n_flat, position, count)
        for g in range(n_groups):
            first = (first_group + g) * rows
            end_group(args, kv_head, first, n_flat, split, splits, scratch + g * group_bytes)

    def kernel(args, thread, threads):
        state, n_kv_heads = argument(args, STATE), argument(args, Attend.N_KV_HEADS)
        scratch = argument(args, Attend.SCRATCH) + thread * argument(args, Attend.SCRATCH_BYTES)
        n, n_past = argument(state, N_TOKENS), argument(state, N_PAST)
        heads = argument(args, Attend.N_HEADS) // n_kv_heads
        n_flat = n * heads
        n_groups = (n_flat + rows - 1) // rows
        splits = count_splits(n, heads, n_kv_heads, rows, n_past + n, threads)
        run = groups_of_run(n, heads, rows)
        runs = (n_groups + run - 1) // run
        for unit in range(thread, runs * n_kv_heads * splits, threads):
            split, first_group = unit % splits, unit // splits % runs * run
            kv_head = unit // splits // runs
            count = min(run, n_groups - first_group)
            one_unit(args, kv_head, first_group, count, n_flat, split, splits, scratch)

    return kernel


def finish(args, thread, threads):
    """Bring split results together and prepare the attention's output for the next product.

    Arguments: state, activation (its rows are the output), n_heads, n_kv_heads, head_dim, partial
    results, rows of a group, heads that make whole blocks of 32 columns.
    """
    state, activation = argument(args, STATE), argument(args, Finish.ACTIVATION)
    n_heads, n_kv_heads, head_dim = (
        argument(args, Finish.N_HEADS),
        argument(args, Finish.N_KV_HEADS),
        argument(args, Finish.HEAD_DIM),
    )
    n, rows, per_unit = (
        argument(state, N_TOKENS),
        argument(args, Finish.GROUP_ROWS),
        argument(args, Finish.HEADS_IN_BLOCKS),
    )
    n_positions = argument(state, N_PAST) + n
    splits = count_splits(n, n_heads // n_kv_heads, n_kv_heads, rows, n_positions, threads)
    units = (n_heads + per_unit - 1) // per_unit
    for unit in range(units * n * thread // threads, units * n * (thread + 1) // threads):
        t, first = unit // units, unit % units * per_unit
        last = min(first + per_unit, n_heads)
        if splits > 1:
            for head in range(t * n_heads + first, t * n_heads + last):
                _join(args, head, splits, argument(activation, ACTIVATION_ROWS) + 4 * head_dim * head)
        tile = t // TILE if n > 1 else -1
        prepare(activation, t, tile, t % TILE, first * head_dim, last * head_dim)


@inline
def _join(args, row, splits, out):
    """The parts of one query row (token * n_heads + head)."""
    n_heads, head_dim, partial = (
        argument(args, Finish.N_HEADS),
        argument(args, Finish.HEAD_DIM),
        argument(args, Finish.PARTIAL),
    )
    size = 4 * (head_dim + 2)
    largest = NOTHING
    for s in range(splits):
        largest = max(largest, load_f32(partial + size * (s * FEW * n_heads + row)))
    total = 0.0
    for d in range(0, head_dim, 16):
        store(out + 4 * d, zero_f32x16())
    for s in range(splits):
        part = partial + size * (s * FEW * n_heads + row)
        factor = first_lane(exp(splat_f32x16(load_f32(part) - largest)))
        total += factor * load_f32(part + 4)
        for d in range(0, head_dim, 16):
            at = out + 4 * d
            store(at, fma(load_f32x16(part + 8 + 4 * d), splat_f32x16(factor), load_f32x16(at)))
    for d in range(0, head_dim, 16):
        store(out + 4 * d, load_f32x16(out + 4 * d) * splat_f32x16(1 / total))
