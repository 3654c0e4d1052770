"""What `kernel.rotate_and_store` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class RotateAndStore(ArgumentRecord):
    """Norm, rotate and scale queries in place; norm and rotate keys, store keys and values."""

    Q = auto()  # float32 (n, n_heads * head_dim)
    K = auto()  # float32 (n, n_kv_heads * head_dim)
    V = auto()  # the same
    N_HEADS = auto()
    N_KV_HEADS = auto()
    HEAD_DIM = auto()
    N_ROTATED = auto()  # dimensions of a head
    INTERLEAVED = auto()  # 1: pairs are neighbours
    COSINES = auto()  # float32 (n, n_rotated / 2)
    SINES = auto()
    Q_NORM = auto()  # float32 (head_dim,), or 0
    K_NORM = auto()
    EPSILON = auto()  # float
    CACHE_LAYER = auto()
    POSITION_BYTES = auto()  # of a kv head's key, or value
