"""Attention of many tokens over the KV cache, by panels."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Scratch, ScratchBytes, Tape
from ..attention.plan import AttentionPlanner
from ..operands import Activation
from .arguments import AttendPanels
from .sizes import PanelScratch, rows_at_once
from .work_list import item_tokens


def attend_panels(
    tape: Tape, q: np.ndarray, out: Activation | np.ndarray, planner: AttentionPlanner, layer: int
) -> None:
    """out = softmax(q k^T) v over a layer of the KV cache, of the tokens whose attention takes panels.

    As `ops.attention.operation.attend`, which calls it.

    The threads do not wait for each other afterwards.
    """
    shape = planner.shape
    layout = PanelScratch.of(shape.key_dim, shape.value_dim, rows_at_once(), shape.type)
    tape.reserve_scratch(layout.n_bytes(item_tokens(planner.heads) * planner.heads))
    tape.add(
        f"ops.panel_attention.kernel.attend_panels:{shape.key_dim}:{shape.value_dim}:{shape.type}",
        AttendPanels,
        q=address_of(q),
        out=address_of(out.rows if isinstance(out, Activation) else out),
        prepared=out.address if isinstance(out, Activation) else 0,
        n_heads=planner.n_heads,
        n_kv_heads=shape.n_kv_heads,
        layer_at=shape.keys_at(layer, 0),
        head_bytes=shape.head_bytes,
        key_block=shape.key_block,
        value_block=shape.value_block,
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        barrier=False,
    )
