"""Attention over the KV cache."""

from __future__ import annotations

import math

import numpy as np

from ...arrays import address_of, aligned_zeros
from ...gemm.sizes import ATTENTION_CHUNK, ATTENTION_RUN, FEW
from ...jit import isa
from ...threads.tape import Scratch, ScratchBytes, Tape
from ..operands import Activation
from .arguments import Attend, Finish
from .cache_layout import position_bytes


def attend(
    tape: Tape,
    q: np.ndarray,
    out: Activation,
    *,
    n_heads: int,
    n_kv_heads: int,
    head_dim: int,
    cache_layer: int,
    cache_type: str = "F16",
) -> None:
    """out = softmax(q k^T) v over the KV cache; query head j reads kv head j // (heads / kv heads)."""
    heads = n_heads // n_kv_heads
    # The largest groups of query rows with the fewest repeated ones.
    rows = min(isa.current().attention_rows, key=lambda size: (-(-heads // size) * size, -size))
    partial = aligned_zeros(tape.n_threads * FEW * n_heads * (head_dim + 2) * 4)
    tape.keep(partial)
    group_bytes = 4 * rows * (2 * head_dim + 4)
    tape.reserve_scratch(ATTENTION_RUN * group_bytes + 4 * rows * ATTENTION_CHUNK + 64)
    tape.add(
        f"ops.attention.kernel.attend:{rows}:{head_dim}:{cache_type}",
        Attend,
        q=address_of(q),
        out=address_of(out.rows),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        cache_layer=cache_layer,
        position_bytes=position_bytes(cache_type, head_dim),
        partial=address_of(partial),
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
    )
    tape.add(
        "ops.attention.kernel.finish",
        Finish,
        activation=out.address,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        partial=address_of(partial),
        group_rows=rows,
        heads_in_blocks=32 // math.gcd(head_dim, 32),
    )
