"""Causal attention over the pages of the KV cache by online softmax (Milakov, Gimelshein, arXiv:1805.02867).

A *group* is `rows` query rows of a kv head (`work_list.py`), so that each key and value is read once for
all. An item of work is a few groups of one sequence over a range of parts: a chunk of positions stays in the
nearest cache while it meets every group.

    for each part
        for each chunk of positions that the item's last row sees
            for each group: scores = q k^T, weights = softmax of the scores, out = factor * out + p v
        for each group: the part's out joins the result, or goes to the partial results

`finish` brings partial results together. Rows past an item's last repeat it.
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, inline, load_i64, some_number, store_i64
from ...threads.argument_record import STATE
from ...threads.work_units import take_one
from ..activation.kernel import prepare_row
from ..batch_state import (
    ATTENTION_IS_WHOLE,
    ATTENTION_SLOTS,
    ATTENTION_WORK,
    N_ATTEND_TOKENS,
    N_ATTENTION_WORK,
    N_ROW_TOKENS,
    PAGE_TABLES,
    POSITIONS,
)
from ..row_copy import copy_row
from .arguments import Attend, Finish
from .byte_products import make_add_bytes, make_begin_values, make_byte_scores, make_take_query
from .cache_layout import POSITIONS_PER_PAGE as PAGE
from .cache_layout import row_bytes, types_of, worked_type
from .chunk_products import asks_ahead, make_add_values, make_copy_query, make_scores, make_turn
from .four_bits import make_unpack_keys, make_unpack_row
from .hadamard import hadamard
from .query_rows import make_row_number
from .scratch import ROW_STATE_BYTES, SEEN_AT, SO_FAR_AT, RowScratch, multiplies_bytes
from .softmax import add_chunk, begin_part, copy_part, divided, merge_part, weigh_chunk
from .work_list import CHUNK, ITEM_BYTES, WorkItem
from .work_list import part_positions as count_part_positions

part_positions = inline(count_part_positions)

SPAN = min(CHUNK, PAGE)
"""Positions of a chunk that lie in one page."""


@inline
def _positions_seen(state, token):
    return load_i64(argument(state, POSITIONS) + 8 * token) + 1


@inline
def _slot_of(state, token):
    """Where a token's partial results begin; -1: it has none."""
    return load_i64(argument(state, ATTENTION_SLOTS) + 8 * token)


def attend(row_count: str, key_size: str, value_size: str, cache_type: str, values_place: str) -> Any:
    """Kernel: an item's attention, in groups of `row_count` rows.

    values_place: `apart`, or `in_keys` where a value is the beginning of its key. Takes `Attend`.
    """
    rows, key_dim, value_dim = int(row_count), int(key_size), int(value_size)
    in_keys = values_place == "in_keys"
    scratch_at = RowScratch.of(rows, key_dim, value_dim, cache_type, in_keys)
    group_bytes, part_at, out_at, state_at = (
        scratch_at.group_bytes, scratch_at.part, scratch_at.out, scratch_at.state
    )  # fmt: skip
    scores_at, turned_at, made_at, query_at = (
        scratch_at.scores, scratch_at.turned, scratch_at.made, scratch_at.query
    )  # fmt: skip
    unpacked_keys_at, unpacked_values_at = scratch_at.keys, scratch_at.values
    query_bytes, out_bytes = 4 * key_dim, 4 * value_dim
    kept_keys, kept_values = types_of(cache_type)
    keys, values = worked_type(kept_keys), worked_type(kept_values)
    unpacks_keys, unpacks_values = keys != kept_keys, values != kept_values and not in_keys
    multiplies_back = unpacks_values or (in_keys and unpacks_keys)
    key_bytes, worked_key_bytes = row_bytes(kept_keys, key_dim), row_bytes(keys, key_dim)
    value_bytes = key_bytes if in_keys else row_bytes(kept_values, value_dim)
    worked_value_bytes = worked_key_bytes if in_keys else row_bytes(values, value_dim)
    values_at = 0 if in_keys else PAGE * key_bytes
    head_bytes = PAGE * (key_bytes + (0 if in_keys else value_bytes))
    values_in_bytes, asks = multiplies_bytes(values, in_keys), asks_ahead()
    keys_in_bytes = values_in_bytes and multiplies_bytes(keys, in_keys)
    begin_values = make_begin_values(rows, value_dim)
    if keys_in_bytes:
        take_query, score_32 = make_take_query(key_dim), make_byte_scores(rows, key_dim)
    else:
        # Keys in rows are turned to float32 first.
        take_query = make_copy_query(key_dim)
        score_32 = make_scores(rows, key_dim, "F32" if in_keys else keys)
    if values_in_bytes:
        weigh, add_values = weigh_chunk, make_add_bytes(rows, value_dim)
    else:
        weigh = add_chunk
        add_values = make_add_values(rows, value_dim, key_dim if in_keys else value_dim, values)
    block_bytes, kept_block_bytes = 64 * key_dim if in_keys else 16 * worked_key_bytes, 16 * key_bytes
    turn = make_turn(key_dim, keys)
    unpack_key_block, unpack_key_row = make_unpack_keys(key_dim), make_unpack_row(key_dim)
    unpack_value_row = make_unpack_row(value_dim)
    row_number = make_row_number(Attend)

    @inline
    def multiplied_query(args, source, scratch):
        """A query as the keys are, in scratch."""
        block, query = argument(args, Attend.KEY_BLOCK), scratch + query_at
        copy_row(source, query, key_dim)
        if block:
            hadamard(query, key_dim, block)
        return query

    @inline
    def begin_group(args, kv_head, first, last, group, scratch):
        """Bring a group's queries together."""
        state = argument(args, STATE)
        heads = argument(args, Attend.N_HEADS) // argument(args, Attend.N_KV_HEADS)
        for i in range(some_number(rows)):
            row = min(first + i, last - 1)
            source = argument(args, Attend.Q) + query_bytes * row_number(args, kv_head, row)
            row_state = group + state_at + ROW_STATE_BYTES * i
            if unpacks_keys:
                source = multiplied_query(args, source, scratch)
            take_query(source, group, i, row_state)
            store_i64(row_state + SEEN_AT, _positions_seen(state, row // heads))

    @inline
    def seen_by(group, i):
        return load_i64(group + state_at + ROW_STATE_BYTES * i + SEEN_AT)

    @inline
    def page_at(args, table, kv_head, position):
        """Where the keys of a kv head begin in a position's page."""
        return (
            load_i64(table + 8 * (position // PAGE))
            + argument(args, Attend.LAYER_AT)
            + argument(args, Attend.HEAD_BYTES) * kv_head
        )

    @inline
    def kept_values_of(args, table, kv_head, position):
        return page_at(args, table, kv_head, position) + values_at + position % PAGE * value_bytes

    @inline
    def values_of(args, table, kv_head, position, place, scratch):
        """The values of a position, at `place` of its chunk, as products take them."""
        if unpacks_values:
            return scratch + unpacked_values_at + place * worked_value_bytes
        if in_keys and unpacks_keys:
            return scratch + unpacked_keys_at + place * worked_key_bytes
        return kept_values_of(args, table, kv_head, position)

    @inline
    def key_block(args, table, kv_head, position, place, scratch):
        """A block of keys, which begins at a position, at `place` of its chunk, as products take it."""
        if in_keys:
            return scratch + turned_at + place // 16 * block_bytes
        if unpacks_keys:
            return scratch + unpacked_keys_at + place // 16 * block_bytes
        return page_at(args, table, kv_head, position) + position % PAGE // 16 * block_bytes

    @inline
    def one_chunk(args, table, kv_head, position, count, group, scratch, ahead, step):
        scores = scratch + scores_at
        for b in range(0, count, 32):
            block = key_block(args, table, kv_head, position + b, b, scratch)
            score_32(group, block, block + block_bytes, scores + 4 * b)
        for i in range(some_number(rows)):  # each is long: LLVM would unroll them
            n_seen = seen_by(group, i) - position
            out, row_state = group + part_at + out_bytes * i, group + state_at + ROW_STATE_BYTES * i
            weigh(scores + 4 * CHUNK * i, out, value_dim, n_seen, count, row_state)
        for b in range(0, count, SPAN):
            add_values(
                values_of(args, table, kv_head, position + b, b, scratch), worked_value_bytes, scores + 4 * b,
                min(SPAN, count - b), group + part_at, group + state_at, position + b, scratch + made_at,
                ahead, step,
            )  # fmt: skip

    @inline
    def unpack_chunk(args, table, kv_head, position, count, scratch):
        """Keys and values of four bits to eight, keys in whole pairs of blocks."""
        keys, whole = scratch + unpacked_keys_at, (count + 31) // 32 * 32
        if unpacks_keys and in_keys:
            for j in range(whole):
                row = page_at(args, table, kv_head, position + j) + (position + j) % PAGE * key_bytes
                unpack_key_row(row, keys + worked_key_bytes * j)
        elif unpacks_keys:
            for b in range(0, whole, 16):
                block = page_at(args, table, kv_head, position + b)
                block += (position + b) % PAGE // 16 * kept_block_bytes
                unpack_key_block(block, keys + b // 16 * block_bytes)
        if unpacks_values:
            for j in range(count):
                row = kept_values_of(args, table, kv_head, position + j)
                unpack_value_row(row, scratch + unpacked_values_at + worked_value_bytes * j)

    @inline
    def turn_chunk(args, table, kv_head, position, count, scratch):
        """Keys in rows to blocks of 16, two at a time."""
        for b in range(0, (count + 31) // 32 * 32, 16):
            keys = page_at(args, table, kv_head, position + b) + (position + b) % PAGE * key_bytes
            if unpacks_keys:
                keys = scratch + unpacked_keys_at + worked_key_bytes * b
            turn(keys, worked_key_bytes, scratch + turned_at + b // 16 * block_bytes)

    @inline
    def end_part(args, kv_head, first, last, part, begin, group):
        """A part's results to where they are wanted, of the rows that see some of it."""
        state = argument(args, STATE)
        heads = argument(args, Attend.N_HEADS) // argument(args, Attend.N_KV_HEADS)
        for i in range(min(rows, last - first)):
            if seen_by(group, i) > begin:
                out, row_state = group + part_at + out_bytes * i, group + state_at + ROW_STATE_BYTES * i
                slot = _slot_of(state, (first + i) // heads)
                if slot >= 0:
                    # Slots of neighbouring tokens are apart; within one lie the heads of one token.
                    head = kv_head * heads + (first + i) % heads
                    number = (slot + part) * argument(args, Attend.N_HEADS) + head
                    partial = argument(args, Attend.PARTIAL) + (out_bytes + 8) * number
                    copy_part(out, row_state, partial + 8, partial, value_dim)
                elif part == 0:
                    copy_part(
                        out, row_state, group + out_at + out_bytes * i, row_state + SO_FAR_AT, value_dim
                    )
                else:
                    merge_part(
                        out, row_state, group + out_at + out_bytes * i, row_state + SO_FAR_AT, value_dim
                    )

    @inline
    def end_group(args, kv_head, first, last, group):
        for i in range(min(rows, last - first)):
            out = argument(args, Attend.OUT) + out_bytes * row_number(args, kv_head, first + i)
            row_state = group + state_at + ROW_STATE_BYTES * i + SO_FAR_AT
            divided(group + out_at + out_bytes * i, row_state, out, value_dim)
            block = argument(args, Attend.VALUE_BLOCK)
            if multiplies_back and block:
                hadamard(out, value_dim, block)

    @inline
    def one_part(args, table, kv_head, first, last, begin, end, scratch):
        """All chunks of a part from `begin` to `end`."""
        n_groups = (last - first + rows - 1) // rows
        for g in range(n_groups):
            group = scratch + g * group_bytes
            for i in range(some_number(rows)):
                begin_part(group + part_at + out_bytes * i, value_dim, group + state_at + ROW_STATE_BYTES * i)
        for position in range(begin, end, CHUNK):
            in_chunk = min(CHUNK, end - position)
            unpack_chunk(args, table, kv_head, position, in_chunk, scratch)
            if in_keys:
                turn_chunk(args, table, kv_head, position, in_chunk, scratch)
            if values_in_bytes:
                values = values_of(args, table, kv_head, position, 0, scratch)
                begin_values(values, worked_value_bytes, in_chunk, scratch + made_at)
            # Each group asks for its share of the next page, of the last one for what is there.
            ahead, step = 0, (head_bytes // n_groups // (value_dim // 16) + 63) // 64 * 64
            if asks:
                ahead = page_at(args, table, kv_head, min(position + CHUNK, end - 1))
            for g in range(n_groups):
                group = scratch + g * group_bytes
                count = min(CHUNK, min(end, seen_by(group, rows - 1)) - position)
                if count > 0:
                    share = ahead + g * (head_bytes // n_groups)
                    one_chunk(args, table, kv_head, position, count, group, scratch, share, step)

    @inline
    def one_unit(args, item, kv_head, scratch):
        state = argument(args, STATE)
        heads = argument(args, Attend.N_HEADS) // argument(args, Attend.N_KV_HEADS)
        first, last = argument(item, WorkItem.FIRST_ROW), argument(item, WorkItem.LAST_ROW)
        token, last_token = first // heads, (last - 1) // heads
        table = load_i64(argument(state, PAGE_TABLES) + 8 * token)
        n_positions = _positions_seen(state, last_token)
        size = part_positions(n_positions)
        n_groups = (last - first + rows - 1) // rows
        for g in range(n_groups):
            begin_group(args, kv_head, first + g * rows, last, scratch + g * group_bytes, scratch)
        for part in range(argument(item, WorkItem.FIRST_PART), argument(item, WorkItem.LAST_PART)):
            begin, end = part * size, min((part + 1) * size, n_positions)
            one_part(args, table, kv_head, first, last, begin, end, scratch)
            for g in range(n_groups):
                end_part(args, kv_head, first + g * rows, last, part, begin, scratch + g * group_bytes)
        if _slot_of(state, token) < 0:
            for g in range(n_groups):
                end_group(args, kv_head, first + g * rows, last, scratch + g * group_bytes)

    def kernel(args, thread, threads):
        state, n_kv_heads = argument(args, STATE), argument(args, Attend.N_KV_HEADS)
        scratch = argument(args, Attend.SCRATCH) + thread * argument(args, Attend.SCRATCH_BYTES)
        work = argument(state, ATTENTION_WORK)
        # All items of a kv head come together: those of one sequence find its keys in the processor's cache.
        n_items = argument(state, N_ATTENTION_WORK)
        unit = take_one(args)
        while unit < n_items * n_kv_heads:
            one_unit(args, work + ITEM_BYTES * (unit % n_items), unit // n_items, scratch)
            unit = take_one(args)

    return kernel


def finish(args, thread, threads):
    """Bring partial results together and, where asked, prepare the attention's output for the next product.

    Takes `Finish`. Parts are merged in order, into the first one's place.
    """
    state, prepared = argument(args, STATE), argument(args, Finish.PREPARED)
    n_heads, value_dim, per_unit = (
        argument(args, Finish.N_HEADS),
        argument(args, Finish.VALUE_DIM),
        argument(args, Finish.HEADS_IN_BLOCKS),
    )
    n = argument(state, N_ATTEND_TOKENS)
    if argument(state, ATTENTION_IS_WHOLE) == 1:
        thread, threads = 0, 1
    units = (n_heads + per_unit - 1) // per_unit
    for unit in range(units * n * thread // threads, units * n * (thread + 1) // threads):
        t, first = unit // units, unit % units * per_unit
        last = min(first + per_unit, n_heads)
        slot = _slot_of(state, t)
        if slot >= 0:
            rows, block = argument(args, Finish.OUT), argument(args, Finish.VALUE_BLOCK)
            for head in range(first, last):
                row = rows + 4 * value_dim * (t * n_heads + head)
                _merge(args, slot, head, _positions_seen(state, t), row)
                if block:
                    hadamard(row, value_dim, block)
        if prepared:
            in_row_form = argument(state, N_ROW_TOKENS)
            prepare_row(prepared, t, in_row_form, first * value_dim, last * value_dim)


@inline
def _merge(args, slot, head, n_positions, out):
    """The parts of one query row."""
    n_heads, value_dim = argument(args, Finish.N_HEADS), argument(args, Finish.VALUE_DIM)
    size = part_positions(n_positions)
    slot_bytes = 4 * n_heads * (value_dim + 2)
    whole = argument(args, Finish.PARTIAL) + slot * slot_bytes + 4 * head * (value_dim + 2)
    part = whole
    for _ in range(1, (n_positions + size - 1) // size):
        part += slot_bytes
        merge_part(part + 8, part, whole + 8, whole, value_dim)
    divided(whole + 8, whole, out, value_dim)
