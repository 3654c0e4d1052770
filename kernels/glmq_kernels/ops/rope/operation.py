"""Rotary embedding, and storing keys and values."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..attention.cache_layout import position_bytes
from .arguments import RotateAndStore


def rotate_and_store(
    tape: Tape,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    n_heads: int,
    n_kv_heads: int,
    head_dim: int,
    n_rotated: int,
    interleaved: bool,
    cosines: np.ndarray,
    sines: np.ndarray,
    q_norm: np.ndarray | None,
    k_norm: np.ndarray | None,
    epsilon: float,
    cache_layer: int,
    cache_type: str = "F16",
) -> None:
    """Norm (where there are weights) and rotate q and k, scale q, store k and v in the KV cache."""
    tape.keep((cosines, sines, q_norm, k_norm))
    tape.add(
        f"ops.rope.kernel.rotate_and_store:{cache_type}",
        RotateAndStore,
        q=address_of(q),
        k=address_of(k),
        v=address_of(v),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        n_rotated=n_rotated,
        interleaved=int(interleaved),
        cosines=address_of(cosines),
        sines=address_of(sines),
        q_norm=0 if q_norm is None else address_of(q_norm),
        k_norm=0 if k_norm is None else address_of(k_norm),
        epsilon=float(epsilon),
        cache_layer=cache_layer,
        position_bytes=position_bytes(cache_type, head_dim),
    )
