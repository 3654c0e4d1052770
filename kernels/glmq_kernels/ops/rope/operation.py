"""Rotary embedding, and storing keys and values."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..attention.cache_layout import CacheShape
from .arguments import RotateAndStore


def rotate_and_store(
    tape: Tape,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray | None,
    *,
    n_heads: int,
    shape: CacheShape,
    layer: int,
    n_rotated: int,
    query_dim: int | None = None,
    query_rotated_from: int = 0,
    key_rotated_from: int = 0,
    interleaved: bool,
    cosines: np.ndarray,
    sines: np.ndarray,
    q_norm: np.ndarray | None,
    k_norm: np.ndarray | None,
    n_normed: int | None = None,
    epsilon: float,
    scale: float,
) -> None:
    """Norm (where there are weights) and rotate q and k, scale q, store k and v in a layer of the KV cache.

    q: float32 (n_tokens, n_heads * query_dim), which is by default key_dim. k: (n_tokens, n_kv_heads *
    key_dim). v: (n_tokens, n_kv_heads * value_dim), None where the cache has values in keys. Norms take the
    first `n_normed` dimensions of a head, all by default. `n_rotated` dimensions of a head are rotated, those
    of queries and of keys from the ones named on. What k and v hold afterwards is not defined.
    """
    assert (v is None) == shape.values_in_keys
    tape.keep((cosines, sines, q_norm, k_norm))
    tape.add(
        f"ops.rope.kernel.rotate_and_store:{shape.type}:{'in_keys' if shape.values_in_keys else 'apart'}",
        RotateAndStore,
        q=address_of(q),
        k=address_of(k),
        v=0 if v is None else address_of(v),
        n_heads=n_heads,
        n_kv_heads=shape.n_kv_heads,
        query_dim=query_dim or shape.key_dim,
        key_dim=shape.key_dim,
        value_dim=shape.value_dim,
        query_rotated_from=query_rotated_from,
        key_rotated_from=key_rotated_from,
        n_rotated=n_rotated,
        interleaved=int(interleaved),
        cosines=address_of(cosines),
        sines=address_of(sines),
        q_norm=0 if q_norm is None else address_of(q_norm),
        k_norm=0 if k_norm is None else address_of(k_norm),
        normed=n_normed or shape.key_dim,
        epsilon=float(epsilon),
        scale=float(scale),
        layer_at=shape.keys_at(layer, 0),
        head_bytes=shape.head_bytes,
        values_at=shape.values_at(0, 0),
        key_block=shape.key_block,
        value_block=shape.value_block,
    )
