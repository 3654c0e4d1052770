"""What the kernel `attend_panels` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class AttendPanels(ArgumentRecord):
    """Out = softmax(q k^T) v of the tokens whose keys and values become panels."""

    Q = auto()  # float32 (n, n_heads * key_dim), scaled
    OUT = auto()  # float32 (n, n_heads * value_dim)
    PREPARED = auto()  # the activation that has OUT as its rows and is prepared too, or 0
    N_HEADS = auto()
    N_KV_HEADS = auto()
    LAYER_AT = auto()  # bytes from a page's begin to the keys of this layer's first kv head
    HEAD_BYTES = auto()  # from a kv head's keys to the next one's
    KEY_BLOCK = auto()  # numbers of a key that a Hadamard matrix has multiplied together; 0: none
    VALUE_BLOCK = auto()  # the same of a value
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
