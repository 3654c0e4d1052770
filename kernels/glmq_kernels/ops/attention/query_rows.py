"""Where the query rows of a kv head lie among those of all heads."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, inline


def make_row_number(record: Any) -> Any:
    """`row_number(args, kv_head, row)`: of a kv head's row, [token][its query heads], that among all heads'.

    record: the argument record of the operation, with N_HEADS and N_KV_HEADS.
    """

    @inline
    def row_number(args, kv_head, row):
        n_heads = argument(args, record.N_HEADS)
        heads = n_heads // argument(args, record.N_KV_HEADS)
        return row // heads * n_heads + kv_head * heads + row % heads

    return row_number
