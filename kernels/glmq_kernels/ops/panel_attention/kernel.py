"""Causal attention of many tokens of a sequence, whose keys and values become panels of int16.

A unit is an item (`work_list.py`) and a kv head: all query rows of a few tokens. With its queries as int16,

    for each page of positions
        keys and values to panels, once for all rows
        for each group of query rows: scores = q k^T, weights = their softmax, out = factor * out + p v

as in `ops/attention/kernel.py`, with one online softmax over all positions and products twice as fast.
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, inline, load_i64, store_i64
from ...threads.argument_record import STATE
from ...threads.work_units import take_one
from ..activation.kernel import prepare_row
from ..attention.cache_layout import row_bytes, types_of, worked_type
from ..attention.four_bits import make_unpack_keys, make_unpack_row
from ..attention.hadamard import hadamard
from ..attention.query_rows import make_row_number
from ..attention.softmax import begin_part, divided
from ..batch_state import N_PROMPT_WORK, N_ROW_TOKENS, PAGE_TABLES, POSITIONS, PROMPT_WORK
from ..prompt_item import ITEM_BYTES, PromptItem
from ..row_copy import copy_row
from .arguments import AttendPanels
from .pair_products import make_pair_products
from .panels import make_key_panel, make_value_panel, take_query
from .sizes import (
    CHUNK,
    QUERY_SCALE_AT,
    SEEN_AT,
    STATE_BYTES,
    WEIGHT_SCALE_AT,
    PanelScratch,
    rows_at_once,
    vectors_at_once,
)
from .softmax import hide, weigh_chunk


def attend_panels(key_size: str, value_size: str, cache_type: str) -> Any:
    """Kernel: attention of the items of a run's last tokens. Takes `AttendPanels`."""
    key_dim, value_dim, rows = int(key_size), int(value_size), rows_at_once()
    layout = PanelScratch.of(key_dim, value_dim, rows, cache_type)
    kept_keys, kept_values = types_of(cache_type)
    keys_worked, values_worked = worked_type(kept_keys), worked_type(kept_values)
    unpacks_keys, unpacks_values = keys_worked != kept_keys, values_worked != kept_values
    key_bytes, value_bytes = row_bytes(kept_keys, key_dim), row_bytes(kept_values, value_dim)
    block_bytes, worked_value_bytes = (
        16 * row_bytes(keys_worked, key_dim),
        row_bytes(values_worked, value_dim),
    )
    values_at = CHUNK * key_bytes
    query_bytes, out_bytes = 2 * key_dim, 4 * value_dim
    queries_at, unpacked_at, query_at = layout.queries, layout.unpacked, layout.query
    key_panel_at, value_panel_at = 0, layout.values
    key_scales_at, value_scales_at = layout.key_scales, layout.value_scales
    key_panel = make_key_panel(key_dim, block_bytes, keys_worked)
    value_panel = make_value_panel(value_dim, worked_value_bytes, values_worked)
    unpack_keys, unpack_row = make_unpack_keys(key_dim), make_unpack_row(value_dim)
    meet, row_number = _make_meet(layout), make_row_number(AttendPanels)

    @inline
    def begin_rows(args, kv_head, first, n, padded, scratch):
        """Queries to int16; rows past the last repeat it."""
        state = argument(args, STATE)
        heads = argument(args, AttendPanels.N_HEADS) // argument(args, AttendPanels.N_KV_HEADS)
        queries = scratch + queries_at
        outs = queries + padded * query_bytes
        states = outs + padded * out_bytes
        for i in range(padded):
            row = first + min(i, n - 1)
            source = argument(args, AttendPanels.Q) + 4 * key_dim * row_number(args, kv_head, row)
            block = argument(args, AttendPanels.KEY_BLOCK)
            if unpacks_keys and block:
                copy_row(source, scratch + query_at, key_dim)
                source = scratch + query_at
                hadamard(source, key_dim, block)
            take_query(source, key_dim, queries + query_bytes * i, states + STATE_BYTES * i)
            begin_part(outs + out_bytes * i, value_dim, states + STATE_BYTES * i)
            position = load_i64(argument(state, POSITIONS) + 8 * (row // heads))
            store_i64(states + STATE_BYTES * i + SEEN_AT, position + 1)

    @inline
    def end_rows(args, kv_head, first, n, padded, scratch):
        outs = scratch + queries_at + padded * query_bytes
        states = outs + padded * out_bytes
        for i in range(n):
            target = argument(args, AttendPanels.OUT) + out_bytes * row_number(args, kv_head, first + i)
            divided(outs + out_bytes * i, states + STATE_BYTES * i, target, value_dim)
            block = argument(args, AttendPanels.VALUE_BLOCK)
            if unpacks_values and block:
                hadamard(target, value_dim, block)
        prepared = argument(args, AttendPanels.PREPARED)
        if prepared:
            state = argument(args, STATE)
            heads = argument(args, AttendPanels.N_HEADS) // argument(args, AttendPanels.N_KV_HEADS)
            in_row_form, columns = argument(state, N_ROW_TOKENS), heads * value_dim
            for t in range(first // heads, (first + n) // heads):
                prepare_row(prepared, t, in_row_form, columns * kv_head, columns * (kv_head + 1))

    @inline
    def unpacked_keys(keys, count, scratch):
        """A page's keys as the panel takes them."""
        if not unpacks_keys:
            return keys
        for b in range(0, count, 16):
            unpack_keys(keys + key_bytes * b, scratch + unpacked_at + b // 16 * block_bytes)
        return scratch + unpacked_at

    @inline
    def unpacked_values(values, count, scratch):
        if not unpacks_values:
            return values
        for j in range(count):
            unpack_row(values + value_bytes * j, scratch + unpacked_at + worked_value_bytes * j)
        return scratch + unpacked_at

    @inline
    def one_unit(args, item, kv_head, scratch):
        state = argument(args, STATE)
        heads = argument(args, AttendPanels.N_HEADS) // argument(args, AttendPanels.N_KV_HEADS)
        token, last = argument(item, PromptItem.FIRST_TOKEN), argument(item, PromptItem.LAST_TOKEN)
        table = load_i64(argument(state, PAGE_TABLES) + 8 * token)
        n_positions = load_i64(argument(state, POSITIONS) + 8 * (last - 1)) + 1
        first, n = token * heads, (last - token) * heads
        padded = (n + rows - 1) // rows * rows
        begin_rows(args, kv_head, first, n, padded, scratch)
        for position in range(0, n_positions, CHUNK):
            count = min(CHUNK, n_positions - position)
            keys = load_i64(table + 8 * (position // CHUNK)) + argument(args, AttendPanels.LAYER_AT)
            keys += argument(args, AttendPanels.HEAD_BYTES) * kv_head
            values, scales = keys + values_at, scratch + value_scales_at
            keys = unpacked_keys(keys, count, scratch)
            key_panel(keys, count, scratch + key_panel_at, scratch + key_scales_at)
            values = unpacked_values(values, count, scratch)
            value_panel(values, count, scratch + value_panel_at, scales)
            meet(position, count, padded, scratch)
        end_rows(args, kv_head, first, n, padded, scratch)

    def kernel(args, thread, threads):
        state, n_kv_heads = argument(args, STATE), argument(args, AttendPanels.N_KV_HEADS)
        scratch = argument(args, AttendPanels.SCRATCH) + thread * argument(args, AttendPanels.SCRATCH_BYTES)
        n_items, unit = argument(state, N_PROMPT_WORK), take_one(args)
        while unit < n_items * n_kv_heads:
            item = argument(state, PROMPT_WORK) + ITEM_BYTES * (unit % n_items)
            one_unit(args, item, unit // n_items, scratch)
            unit = take_one(args)

    return kernel


def _make_meet(layout: PanelScratch) -> Any:
    """`meet(position, count, n_rows, scratch)`: all query rows with the panels of a chunk at a position."""
    key_dim, value_dim, rows, vectors = layout.key_dim, layout.value_dim, layout.group, vectors_at_once()
    value_panel_at, key_scales_at, value_scales_at = layout.values, layout.key_scales, layout.value_scales
    scores_at, weights_at, queries_at = layout.scores, layout.weights, layout.queries
    zero, add_keys, save_scores = make_pair_products(
        vectors, rows, key_dim, 2 * key_dim, 4 * CHUNK, accumulate=False
    )
    width = 16 * vectors
    in_pairs = value_dim // width * width
    zero_out, add_values, save_out = make_pair_products(
        vectors, rows, CHUNK, 2 * CHUNK, 4 * value_dim, accumulate=True
    )
    zero_1, add_1, save_1 = make_pair_products(1, rows, CHUNK, 2 * CHUNK, 4 * value_dim, accumulate=True)

    @inline
    def score(queries, keys, scales, states, scores):
        sums = zero()
        for d in range(0, key_dim, 2):
            sums = add_keys(sums, keys + 32 * d, queries + 2 * d)
        save_scores(sums, scales, states + QUERY_SCALE_AT, scores)

    @inline
    def weigh_values(values, scales, weights, count, states, out):
        for d in range(0, in_pairs, width):
            sums = zero_out()
            for j in range(0, count, 2):
                sums = add_values(sums, values + 32 * j + 2 * CHUNK * d, weights + 2 * j)
            save_out(sums, scales + 4 * d, states + WEIGHT_SCALE_AT, out + 4 * d)
        for d in range(in_pairs, value_dim, 16):
            sums_1 = zero_1()
            for j in range(0, count, 2):
                sums_1 = add_1(sums_1, values + 32 * j + 2 * CHUNK * d, weights + 2 * j)
            save_1(sums_1, scales + 4 * d, states + WEIGHT_SCALE_AT, out + 4 * d)

    @inline
    def meet(position, count, n_rows, scratch):
        scores, weights, queries = scratch + scores_at, scratch + weights_at, scratch + queries_at
        outs = queries + 2 * key_dim * n_rows
        states = outs + 4 * value_dim * n_rows
        for first in range(0, n_rows, rows):
            group_states, group_out = states + STATE_BYTES * first, outs + 4 * value_dim * first
            seen = load_i64(group_states + STATE_BYTES * (rows - 1) + SEEN_AT) - position
            most = min(count, seen)
            if most > 0:
                for b in range(0, most, width):
                    keys, scales = scratch + 2 * key_dim * b, scratch + key_scales_at + 4 * b
                    score(queries + 2 * key_dim * first, keys, scales, group_states, scores + 4 * b)
                for i in range(min(rows, n_rows - first)):  # all: but LLVM must not unroll it
                    n_seen = load_i64(group_states + STATE_BYTES * i + SEEN_AT) - position
                    covered = (most + 15) // 16 * 16
                    if n_seen < covered:
                        hide(scores + 4 * CHUNK * i, n_seen, covered)
                    weigh_chunk(
                        scores + 4 * CHUNK * i, weights + 2 * CHUNK * i, group_out + 4 * value_dim * i,
                        value_dim, most, group_states + STATE_BYTES * i,
                    )  # fmt: skip
                weigh_values(
                    scratch + value_panel_at,
                    scratch + value_scales_at,
                    weights,
                    most,
                    group_states,
                    group_out,
                )

    return meet
