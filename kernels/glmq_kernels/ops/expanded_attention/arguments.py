"""What the kernel `attend_expanded` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class AttendExpanded(ArgumentRecord):
    """Out = softmax(q k^T) v, with keys and values worked out from the rows of the cache."""

    Q = auto()  # float32 (n, n_heads * (nope_dim + rope_dim)), scaled
    OUT = auto()  # float32 (n, n_heads * value_dim)
    PREPARED = auto()  # the activation that has OUT as its rows and is prepared too, or 0
    N_HEADS = auto()
    KEYS = auto()  # the matrix of head 0, (kv_rank, nope_dim)
    KEYS_HEAD_BYTES = auto()  # from a head's matrix to the next one's
    KEYS_ROW_BYTES = auto()
    KEYS_ROWS = auto()  # address of the kernel `formats.dequantize.rows` of their type
    VALUES = auto()  # the matrix of head 0, (value_dim, kv_rank)
    VALUES_HEAD_BYTES = auto()
    VALUES_ROW_BYTES = auto()
    VALUES_ROWS = auto()
    LAYER_AT = auto()  # bytes from a page's begin to the rows of this layer
    KEY_BLOCK = auto()  # numbers of a row that a Hadamard matrix has multiplied together; 0: none
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
