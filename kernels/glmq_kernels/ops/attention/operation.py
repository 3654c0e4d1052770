"""Attention over the KV cache."""

from __future__ import annotations

import math

import numpy as np

from ...arrays import address_of
from ...threads.tape import Scratch, ScratchBytes, Tape, UnlessOne
from ..batch_state import ATTENTION_IS_WHOLE
from ..expanded_attention.sizes import LatentSizes
from ..operands import Activation
from ..panel_attention.operation import attend_panels
from .arguments import Attend, Finish
from .cache_layout import CacheShape
from .plan import AttentionPlanner
from .scratch import RowScratch


def attend(
    tape: Tape, q: np.ndarray, out: Activation | np.ndarray, planner: AttentionPlanner, layer: int
) -> None:
    """out = softmax(q k^T) v over a layer of the KV cache.

    q: float32 (n_tokens, n_heads * key_dim), scaled. out: (n_tokens, n_heads * value_dim), prepared where it
    is an activation. Query head j reads kv head j // (n_heads / n_kv_heads). The tape's state must hold a
    plan of `planner`, by which the last tokens' keys and values may become panels (`ops/panel_attention/`).
    """
    shape, n_heads, rows = planner.shape, planner.n_heads, planner.group_rows
    if planner.in_panels:
        attend_panels(tape, q, out, planner, layer)
    scratch = RowScratch.of(rows, shape.key_dim, shape.value_dim, shape.type, shape.values_in_keys)
    tape.reserve_scratch(scratch.n_bytes)
    out_rows, prepared = (out.rows, out.address) if isinstance(out, Activation) else (out, 0)
    place = "in_keys" if shape.values_in_keys else "apart"
    tape.add(
        f"ops.attention.kernel.attend:{rows}:{shape.key_dim}:{shape.value_dim}:{shape.type}:{place}",
        Attend,
        q=address_of(q),
        out=address_of(out_rows),
        n_heads=n_heads,
        n_kv_heads=shape.n_kv_heads,
        layer_at=shape.keys_at(layer, 0),
        head_bytes=shape.head_bytes,
        partial=address_of(planner.partial),
        key_block=shape.key_block,
        value_block=shape.value_block,
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
    )
    tape.add(
        "ops.attention.kernel.finish",
        Finish,
        out=address_of(out_rows),
        prepared=prepared,
        n_heads=n_heads,
        value_dim=shape.value_dim,
        partial=address_of(planner.partial),
        heads_in_blocks=32 // math.gcd(shape.value_dim, 32),
        value_block=shape.value_block,
        barrier=UnlessOne(ATTENTION_IS_WHOLE),
    )


def attention_planner(
    tape: Tape, shape: CacheShape, n_heads: int, latent: LatentSizes | None = None
) -> AttentionPlanner:
    """A planner for a tape. latent: sizes of latent attention whose rows can be expanded."""
    planner = AttentionPlanner(shape, n_heads, tape.n_threads, latent)
    tape.keep(planner.partial)
    return planner
