"""What the kernels `attend` and `finish` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class Attend(ArgumentRecord):
    """Out = softmax(q k^T) v, or partial results of it."""

    Q = auto()  # float32 (n, n_heads * key_dim), scaled
    OUT = auto()  # float32 (n, n_heads * value_dim)
    N_HEADS = auto()
    N_KV_HEADS = auto()
    LAYER_AT = auto()  # bytes from a page's begin to the keys of this layer's first kv head
    HEAD_BYTES = auto()  # from a kv head's keys to the next one's
    PARTIAL = auto()  # float32 (PARTIAL_SLOTS, n_heads, 2 + value_dim)
    KEY_BLOCK = auto()  # numbers of a key that a Hadamard matrix has multiplied together; 0: none
    VALUE_BLOCK = auto()  # the same of a value
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread


class Finish(ArgumentRecord):
    """Partial results brought together, and the output prepared for the next product."""

    OUT = auto()  # float32 (n, n_heads * value_dim)
    PREPARED = auto()  # the activation that has OUT as its rows and is prepared too, or 0
    N_HEADS = auto()
    VALUE_DIM = auto()
    PARTIAL = auto()
    HEADS_IN_BLOCKS = auto()  # heads that make whole blocks of 32 columns
    VALUE_BLOCK = auto()  # numbers of a value that a Hadamard matrix has multiplied together; 0: none
