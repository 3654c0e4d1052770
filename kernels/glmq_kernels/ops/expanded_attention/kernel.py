"""Latent attention of many tokens, whose heads' keys and values are worked out of the cache's rows.

A unit is an item (`work_list.py`) and a head: with the head's matrices, as float32,

    for each chunk of positions
        k_nope | v = latent rows x (K_h^T | V_h^T); the keys are k_nope | k_pe
        for each group of query rows: scores = q k^T, weights = their softmax, out = factor * out + p v

as in `ops/attention/kernel.py`, with one online softmax over all positions.
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, call_6, inline, load_i64, store_i64
from ...simd.vectors import load_f32x16, store
from ...threads.argument_record import STATE
from ...threads.work_units import take_one
from ..activation.kernel import prepare_row
from ..attention.cache_layout import POSITIONS_PER_PAGE as PAGE
from ..attention.cache_layout import row_bytes, worked_type
from ..attention.chunk_products import make_add_values, make_scores, make_turn
from ..attention.four_bits import make_unpack_row
from ..attention.hadamard import hadamard
from ..attention.outer import make_outer
from ..attention.rows import make_row_loads
from ..attention.softmax import add_chunk, begin_part, divided
from ..attention.work_list import CHUNK
from ..batch_state import N_PROMPT_WORK, N_ROW_TOKENS, PAGE_TABLES, POSITIONS, PROMPT_WORK
from ..prompt_item import ITEM_BYTES, PromptItem
from ..row_copy import copy_row
from .arguments import AttendExpanded
from .sizes import SEEN_AT, STATE_BYTES, LatentSizes, ScratchLayout


def attend_expanded(
    row_count: str, kv_rank: str, nope_dim: str, rope_dim: str, value_dim: str, cache_type: str
) -> Any:
    """Kernel: attention of the items of expanded rows, in groups of `row_count`. Takes `AttendExpanded`."""
    rows, sizes = int(row_count), LatentSizes(0, int(kv_rank), int(nope_dim), int(rope_dim), int(value_dim))
    layout = ScratchLayout.of(sizes, rows)
    begin_head = _make_begin_head(sizes, layout)
    expand = _make_expand(sizes, layout, cache_type, rows)
    meet = _make_meet(sizes, layout, rows)
    queries_at, key_bytes, value_bytes = layout.queries, 4 * sizes.key_dim, 4 * sizes.value_dim

    @inline
    def begin_tokens(args, head, first, n, padded, scratch):
        state, n_heads = argument(args, STATE), argument(args, AttendExpanded.N_HEADS)
        out, states = scratch + queries_at + padded * key_bytes, scratch + queries_at
        states += padded * (key_bytes + value_bytes)
        for i in range(padded):
            t = first + min(i, n - 1)
            source = argument(args, AttendExpanded.Q) + key_bytes * (t * n_heads + head)
            copy_row(source, scratch + queries_at + key_bytes * i, key_bytes // 4)
            begin_part(out + value_bytes * i, value_bytes // 4, states + STATE_BYTES * i)
            position = load_i64(argument(state, POSITIONS) + 8 * t)
            store_i64(states + STATE_BYTES * i + SEEN_AT, position + 1)

    @inline
    def end_tokens(args, head, first, n, padded, scratch):
        n_heads, prepared = argument(args, AttendExpanded.N_HEADS), argument(args, AttendExpanded.PREPARED)
        out, states = scratch + queries_at + padded * key_bytes, scratch + queries_at
        states += padded * (key_bytes + value_bytes)
        in_row_form, columns = argument(argument(args, STATE), N_ROW_TOKENS), value_bytes // 4
        for i in range(n):
            target = argument(args, AttendExpanded.OUT) + value_bytes * ((first + i) * n_heads + head)
            divided(out + value_bytes * i, states + STATE_BYTES * i, target, columns)
            if prepared:
                prepare_row(prepared, first + i, in_row_form, columns * head, columns * (head + 1))

    @inline
    def one_unit(args, item, head, scratch):
        first, last = argument(item, PromptItem.FIRST_TOKEN), argument(item, PromptItem.LAST_TOKEN)
        state, n = argument(args, STATE), last - first
        table = load_i64(argument(state, PAGE_TABLES) + 8 * first)
        n_positions = load_i64(argument(state, POSITIONS) + 8 * (last - 1)) + 1
        padded = (n + rows - 1) // rows * rows
        begin_head(args, head, scratch)
        begin_tokens(args, head, first, n, padded, scratch)
        for position in range(0, n_positions, CHUNK):
            count = min(CHUNK, n_positions - position)
            page = load_i64(table + 8 * (position // PAGE)) + argument(args, AttendExpanded.LAYER_AT)
            expand(page, count, argument(args, AttendExpanded.KEY_BLOCK), scratch)
            meet(position, count, padded, scratch)
        end_tokens(args, head, first, n, padded, scratch)

    def kernel(args, thread, threads):
        state, n_heads = argument(args, STATE), argument(args, AttendExpanded.N_HEADS)
        scratch = argument(args, AttendExpanded.SCRATCH)
        scratch += thread * argument(args, AttendExpanded.SCRATCH_BYTES)
        n_units, unit = argument(state, N_PROMPT_WORK) * n_heads, take_one(args)
        while unit < n_units:
            item = argument(state, PROMPT_WORK) + ITEM_BYTES * (unit // n_heads)
            one_unit(args, item, unit % n_heads, scratch)
            unit = take_one(args)

    return kernel


def _make_begin_head(sizes: LatentSizes, layout: ScratchLayout) -> Any:
    """`begin_head(args, head, scratch)`: the head's two matrices to `weights`."""
    kv_rank, nope_dim, value_dim = sizes.kv_rank, sizes.nope_dim, sizes.value_dim
    weights_at, passing_at = layout.weights, layout.latent  # dequantized rows pass through `latent`
    turn = make_turn(kv_rank, "F32")
    key_rows = CHUNK * kv_rank // nope_dim // 16 * 16

    @inline
    def begin_head(args, head, scratch):
        passing, weights = scratch + passing_at, scratch + weights_at
        keys = argument(args, AttendExpanded.KEYS) + head * argument(args, AttendExpanded.KEYS_HEAD_BYTES)
        stride, code = argument(args, AttendExpanded.KEYS_ROW_BYTES), argument(args, AttendExpanded.KEYS_ROWS)
        for first in range(0, kv_rank, key_rows):
            count = min(key_rows, kv_rank - first)
            call_6(code, keys + first * stride, stride, count, nope_dim, passing, 4 * nope_dim)
            for i in range(count):
                for d in range(0, nope_dim, 16):
                    target = weights + 4 * d * kv_rank + 64 * (first + i)
                    store(target, load_f32x16(passing + 4 * (nope_dim * i + d)))
        values = argument(args, AttendExpanded.VALUES)
        values += head * argument(args, AttendExpanded.VALUES_HEAD_BYTES)
        stride = argument(args, AttendExpanded.VALUES_ROW_BYTES)
        code = argument(args, AttendExpanded.VALUES_ROWS)
        for first in range(0, value_dim, 16):
            call_6(code, values + first * stride, stride, 16, kv_rank, passing, 4 * kv_rank)
            turn(passing, 4 * kv_rank, weights + 4 * kv_rank * (nope_dim + first))

    return begin_head


def _make_expand(sizes: LatentSizes, layout: ScratchLayout, cache_type: str, rows: int) -> Any:
    """`expand(page, count, block, scratch)`: a chunk's keys, turned, and values."""
    kv_rank, nope_dim, key_dim, expanded_dim = (
        sizes.kv_rank,
        sizes.nope_dim,
        sizes.key_dim,
        sizes.expanded_dim,
    )
    weights_at, latent_at, expanded_at, keys_at = layout.weights, layout.latent, layout.expanded, layout.keys
    stored_bytes, row_dim, unpacked_at = row_bytes(cache_type, sizes.row_dim), sizes.row_dim, layout.unpacked
    unpacks, unpack = worked_type(cache_type) != cache_type, make_unpack_row(row_dim)
    scale_of, load = make_row_loads(worked_type(cache_type), row_dim)
    zero, add, _, save = make_outer(1, rows, 4 * row_dim, 4 * expanded_dim)
    turn_nope = make_turn(nope_dim, "F32")
    turn_rope = make_turn(row_dim, "F32", first=kv_rank)

    @inline
    def to_floats(page, block, unpacked, latent):
        for i in range(CHUNK):
            row, target = page + stored_bytes * i, latent + 4 * row_dim * i
            if unpacks:
                unpack(row, unpacked)
                row = unpacked
            for d in range(0, row_dim, 16):
                store(target + 4 * d, load(row, d, scale_of(row, d // 32)))
            if unpacks and block:
                hadamard(target, row_dim, block)

    @inline
    def product(latent, weights, out):
        sums = zero()
        for i in range(kv_rank):
            sums = add(sums, (load_f32x16(weights + 64 * i),), latent + 4 * i)
        save(out, sums)

    @inline
    def expand(page, count, block, scratch):
        latent, expanded = scratch + latent_at, scratch + expanded_at
        to_floats(page, block, scratch + unpacked_at, latent)
        for d in range(0, expanded_dim, 16):
            weights = scratch + weights_at + 4 * d * kv_rank
            for begin in range(0, count, rows):
                i = min(begin, CHUNK - rows)  # a last group may repeat some rows
                product(latent + 4 * row_dim * i, weights, expanded + 4 * (expanded_dim * i + d))
        for b in range(0, (count + 31) // 32 * 2):
            keys = scratch + keys_at + 64 * key_dim * b
            turn_nope(expanded + 64 * expanded_dim * b, 4 * expanded_dim, keys)
            turn_rope(latent + 64 * row_dim * b, 4 * row_dim, keys + 64 * nope_dim)

    return expand


def _make_meet(sizes: LatentSizes, layout: ScratchLayout, rows: int) -> Any:
    """`meet(position, count, n_rows, scratch)`: all query rows with a chunk that begins at a position."""
    nope_dim, key_dim, value_dim, expanded_dim = (
        sizes.nope_dim,
        sizes.key_dim,
        sizes.value_dim,
        sizes.expanded_dim,
    )
    expanded_at, keys_at, scores_at, queries_at = (
        layout.expanded,
        layout.keys,
        layout.scores,
        layout.queries,
    )
    score_32 = make_scores(rows, key_dim, "F32")
    add_values = make_add_values(rows, value_dim, value_dim, "F32")

    @inline
    def meet(position, count, n_rows, scratch):
        scores, keys = scratch + scores_at, scratch + keys_at
        values = scratch + expanded_at + 4 * nope_dim
        queries = scratch + queries_at
        outs = queries + 4 * key_dim * n_rows
        states = outs + 4 * value_dim * n_rows
        for first in range(0, n_rows, rows):
            most = min(count, load_i64(states + STATE_BYTES * (first + rows - 1) + SEEN_AT) - position)
            if most > 0:
                for b in range(0, most, 32):
                    block = keys + 4 * key_dim * b
                    score_32(queries + 4 * key_dim * first, block, block + 64 * key_dim, scores + 4 * b)
                for i in range(first, first + rows):
                    row_state = states + STATE_BYTES * i
                    n_seen = load_i64(row_state + SEEN_AT) - position
                    row_scores = scores + 4 * CHUNK * (i - first)
                    add_chunk(row_scores, outs + 4 * value_dim * i, value_dim, n_seen, most, row_state)
                row_outs, row_states = outs + 4 * value_dim * first, states + STATE_BYTES * first
                # Nothing is asked for ahead: all of it has just been written.
                add_values(
                    values, 4 * expanded_dim, scores, most, row_outs, row_states, position, scratch,
                    scratch, 0,
                )  # fmt: skip

    return meet
