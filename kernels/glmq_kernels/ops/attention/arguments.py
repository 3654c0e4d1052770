"""What the kernels `attend` and `finish` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class Attend(ArgumentRecord):
    """Out = softmax(q k^T) v, or partial results of it."""

    Q = auto()  # float32 (n, n_heads * head_dim), scaled
    OUT = auto()  # float32, the same shape
    N_HEADS = auto()
    N_KV_HEADS = auto()
    CACHE_LAYER = auto()
    POSITION_BYTES = auto()  # of a kv head's key, or value
    PARTIAL = auto()  # float32 (splits, FEW * n_heads, head_dim + 2)
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread


class Finish(ArgumentRecord):
    """Partial results brought together, and the output prepared for the next product."""

    ACTIVATION = auto()  # its rows are the output
    N_HEADS = auto()
    N_KV_HEADS = auto()
    HEAD_DIM = auto()
    PARTIAL = auto()
    GROUP_ROWS = auto()
    HEADS_IN_BLOCKS = auto()  # heads that make whole blocks of 32 columns
