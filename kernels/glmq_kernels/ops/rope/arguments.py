"""What `kernel.rotate_and_store` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class RotateAndStore(ArgumentRecord):
    """Norm, rotate and scale queries in place; norm and rotate keys, store keys and values."""

    Q = auto()  # float32 (n, n_heads * query_dim)
    K = auto()  # float32 (n, n_kv_heads * key_dim)
    V = auto()  # float32 (n, n_kv_heads * value_dim)
    N_HEADS = auto()
    N_KV_HEADS = auto()
    QUERY_DIM = auto()
    KEY_DIM = auto()
    VALUE_DIM = auto()
    QUERY_ROTATED_FROM = auto()  # the first dimension of a query head that is rotated
    KEY_ROTATED_FROM = auto()
    N_ROTATED = auto()  # dimensions of a head from there on
    INTERLEAVED = auto()  # 1: pairs are neighbours
    COSINES = auto()  # float32 (n, n_rotated / 2)
    SINES = auto()
    Q_NORM = auto()  # float32 (normed,), or 0
    K_NORM = auto()
    NORMED = auto()  # dimensions of a head that norms take, from the first on
    EPSILON = auto()  # float
    SCALE = auto()  # float: of queries
    LAYER_AT = auto()  # bytes from a page's begin to the keys of this layer's first kv head
    HEAD_BYTES = auto()  # from a kv head's keys to the next one's
    VALUES_AT = auto()  # from a kv head's keys to its values
    KEY_BLOCK = auto()  # numbers of a key that a Hadamard matrix multiplies together; 0: none
    VALUE_BLOCK = auto()  # the same of a value
