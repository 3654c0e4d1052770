"""The two products of attention: queries with keys, and weights with values, of a group of query rows."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from ...jit import isa
from ...simd.addresses import inline, prefetch, store_f32
from ...simd.vectors import I64, f32x8, load_f32x16, shuffle_value, store, store_value
from .outer import make_outer
from .rows import make_key_loads, make_load_8, make_row_loads
from .scratch import QUERY_SCALE_AT
from .work_list import CHUNK


def asks_ahead() -> bool:
    """Whether memory is asked for the next chunk: it pays where little else is done with an element."""
    return isa.current().dot_lanes == 8


@inline
def ask_for(address, count):
    """Ask memory for so many bytes."""
    for at in range(0, count, 64):
        prefetch(address + at)


def make_copy_query(key_dim: int) -> Any:
    """`take_query(source, queries, i, row_state)`: float32 (key_dim,) becomes row i as it is."""

    @inline
    def take_query(source, queries, i, row_state):
        store_f32(row_state + QUERY_SCALE_AT, 1.0)
        for d in range(0, 4 * key_dim, 64):
            store(queries + 4 * key_dim * i + d, load_f32x16(source + d))

    return take_query


def make_scores(rows: int, key_dim: int, kept_as: str) -> Any:
    """`score_32(queries, block, next_block, scores)`: 32 turned keys' products with all query rows."""
    if isa.current().attention_vectors == 1:
        return _make_scores_in_halves(rows, key_dim, kept_as)
    zero, add, _, save = make_outer(2, rows, 4 * key_dim, 4 * CHUNK)
    key_scales, load_keys = make_key_loads(kept_as, key_dim)

    @inline
    def score_32(queries, block, next_block, scores):
        sums = zero()
        for d in range(0, key_dim, 32):
            scales, next_scales = key_scales(block, d // 32), key_scales(next_block, d // 32)
            for i in range(d, min(d + 32, key_dim)):
                keys = load_keys(block, i, scales), load_keys(next_block, i, next_scales)
                sums = add(sums, keys, queries + 4 * i)
        save(scores, sums)

    return score_32


def _make_scores_in_halves(rows: int, key_dim: int, kept_as: str) -> Any:
    zero, add, _, save = make_outer(1, rows, 4 * key_dim, 4 * CHUNK)
    key_scales, load_keys = make_key_loads(kept_as, key_dim)

    @inline
    def score_16(queries, block, scores):
        sums = zero()
        for d in range(0, key_dim, 32):
            scales = key_scales(block, d // 32)
            for i in range(d, min(d + 32, key_dim)):
                sums = add(sums, (load_keys(block, i, scales),), queries + 4 * i)
        save(scores, sums)

    @inline
    def score_32(queries, block, next_block, scores):
        score_16(queries, block, scores)
        score_16(queries, next_block, scores + 64)

    return score_32


def make_add_values(rows: int, value_dim: int, row_dim: int, kept_as: str) -> Any:
    """`add_values(values, row_bytes, weights, count, out, states, position, made, ahead, step)`.

    Adds weights x values to out. Of the last five see `byte_products.py`. row_dim: numbers of a row in the
    cache, of which the first `value_dim` are the value.
    """
    _, add_2, load_2, save_2 = make_outer(2, rows, 4 * CHUNK, 4 * value_dim)
    _, add_1, load_1, save_1 = make_outer(1, rows, 4 * CHUNK, 4 * value_dim)
    value_scale, load_values = make_row_loads(kept_as, row_dim)
    asks = asks_ahead()
    in_pairs = value_dim // 32 * 32 if isa.current().attention_vectors == 2 else 0

    @inline
    def add_values(values, row_bytes, weights, count, out, states, position, made, ahead, step):
        for d in range(0, in_pairs, 32):
            sums = load_2(out + 4 * d)
            for j in range(count):
                row = values + j * row_bytes
                scale = value_scale(row, d // 32)
                both = load_values(row, d, scale), load_values(row, d + 16, scale)
                sums = add_2(sums, both, weights + 4 * j)
            save_2(out + 4 * d, sums)
        for d in range(in_pairs, value_dim, 16):
            if asks:
                ask_for(ahead + d // 16 * step, step)
            sum_1 = load_1(out + 4 * d)
            for j in range(count):
                row = values + j * row_bytes
                one = load_values(row, d, value_scale(row, d // 32))
                sum_1 = add_1(sum_1, (one,), weights + 4 * j)
            save_1(out + 4 * d, sum_1)

    return add_values


def make_turn(columns: int, kept_as: str, first: int = 0) -> Any:
    """`turn(rows, row_bytes, block)`: columns of 16 rows, from `first` on, to float32 [column][16 rows]."""
    load = make_load_8(kept_as, columns)

    @inline
    def turn_8(rows, row_bytes, d, block):
        _store_turned(
            block + 64 * (d - first),
            (
                load(rows, d),
                load(rows + row_bytes, d),
                load(rows + 2 * row_bytes, d),
                load(rows + 3 * row_bytes, d),
                load(rows + 4 * row_bytes, d),
                load(rows + 5 * row_bytes, d),
                load(rows + 6 * row_bytes, d),
                load(rows + 7 * row_bytes, d),
            ),
        )

    @inline
    def turn(rows, row_bytes, block):
        for d in range(first, columns, 8):
            turn_8(rows, row_bytes, d, block)
            turn_8(rows + 8 * row_bytes, row_bytes, d, block + 32)

    return turn


@intrinsic
def _store_turned(typing: Any, address: Any, vectors: Any) -> Any:
    """Store eight vectors of eight lanes, 64 bytes apart; lane j of the i-th goes to lane i of the j-th."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pick(a: Any, b: Any, lanes: list[int]) -> Any:
            return shuffle_value(builder, a, b, lanes)

        rows = [builder.extract_value(args[1], i) for i in range(8)]
        low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
        pairs = [pick(rows[i], rows[i + 1], lanes) for i in range(0, 8, 2) for lanes in (low, high)]
        low, high = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
        fours = [pick(pairs[i], pairs[i + 2], lanes) for i in (0, 1, 4, 5) for lanes in (low, high)]
        low, high = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
        columns = [pick(fours[i], fours[i + 4], lanes) for lanes in (low, high) for i in range(4)]
        for i, column in enumerate(columns):
            store_value(builder, builder.add(args[0], I64(64 * i)), column)
        return context.get_dummy_value()

    return types.none(types.int64, types.UniTuple(f32x8, 8)), codegen
