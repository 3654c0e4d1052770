"""The operations that a forward pass is built from. Each appends kernels to a tape.

Operands are described in `operands.py`. n_tokens is the batch of a run.
"""

from __future__ import annotations

from .activation.operation import gather_tiles, prepare_rows
from .attention.operation import attend, attention_planner
from .buffers import float_rows, new_activation, new_chosen, new_gathered, new_routing
from .embedding.operation import embed
from .expanded_attention.operation import attend_expanded
from .feed_forward.operation import Network, down, gate_up
from .heads.operation import HeadMatrices, gather_heads, multiply_heads, new_heads
from .joined_norms.operation import NormedRows, join_norms
from .matmul.operation import Projection, matmul
from .norm.operation import rms_norm
from .outputs.operation import gather_logit_rows, gather_outputs
from .rope.operation import rotate_and_store
from .routing.operation import dispatch, route

__all__ = [
    "HeadMatrices",
    "Network",
    "NormedRows",
    "Projection",
    "attend",
    "attend_expanded",
    "attention_planner",
    "dispatch",
    "down",
    "embed",
    "float_rows",
    "gate_up",
    "gather_heads",
    "gather_logit_rows",
    "gather_outputs",
    "gather_tiles",
    "join_norms",
    "matmul",
    "multiply_heads",
    "new_activation",
    "new_chosen",
    "new_gathered",
    "new_heads",
    "new_routing",
    "prepare_rows",
    "rms_norm",
    "rotate_and_store",
    "route",
]
