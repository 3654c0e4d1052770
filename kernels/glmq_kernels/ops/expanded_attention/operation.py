"""Latent attention of many tokens, with keys and values expanded."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...jit import isa
from ...threads.tape import Code, Scratch, ScratchBytes, Tape
from ..attention.plan import AttentionPlanner
from ..heads.operation import HeadMatrices
from ..operands import Activation
from .arguments import AttendExpanded
from .sizes import ScratchLayout
from .work_list import longest_item


def attend_expanded(
    tape: Tape,
    q: np.ndarray,
    keys: HeadMatrices,
    values: HeadMatrices,
    out: Activation,
    planner: AttentionPlanner,
    layer: int,
) -> None:
    """out = softmax(q k^T) v over a layer of the KV cache, of the tokens that are not absorbed.

    q: float32 (n_tokens, n_heads * key_dim), scaled. keys, values: each head's (kv_rank, nope_dim) and
    (value_dim, kv_rank). out: (n_tokens, n_heads * value_dim), prepared where heads are whole blocks of 32
    columns. planner: one with latent sizes, whose nope_dim and value_dim are multiples of 16.

    The threads do not wait for each other afterwards.
    """
    sizes, shape, rows = planner.latent, planner.shape, max(isa.current().attention_rows)
    assert sizes is not None and sizes.nope_dim % 16 == 0 and sizes.value_dim % 16 == 0
    layout = ScratchLayout.of(sizes, rows)
    most = longest_item(tape.max_tokens, tape.n_threads, sizes.n_heads)
    tape.reserve_scratch(layout.n_bytes(sizes, most, rows))
    dims = (sizes.kv_rank, sizes.nope_dim, sizes.rope_dim, sizes.value_dim)
    tape.add(
        f"ops.expanded_attention.kernel.attend_expanded:{rows}:{':'.join(map(str, dims))}:{shape.type}",
        AttendExpanded,
        q=address_of(q),
        out=address_of(out.rows),
        prepared=out.address if sizes.value_dim % 32 == 0 else 0,
        n_heads=sizes.n_heads,
        keys=keys.first.address,
        keys_head_bytes=keys.head_bytes,
        keys_row_bytes=keys.first.row_bytes,
        keys_rows=Code(f"formats.dequantize.rows:{keys.first.type}"),
        values=values.first.address,
        values_head_bytes=values.head_bytes,
        values_row_bytes=values.first.row_bytes,
        values_rows=Code(f"formats.dequantize.rows:{values.first.type}"),
        layer_at=shape.keys_at(layer, 0),
        key_block=shape.key_block,
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        barrier=False,
    )
