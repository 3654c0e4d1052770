"""Mixes in today's fashion: everything but the routed experts is Q8_0, and their down matrices are finer.

A token reads a few of many experts, so that nearly all bytes of a file are the experts' and what all tokens
go through costs little to keep fine.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import PlannedTensor
from .mix_names import Mix
from .tensor_kinds import kind_of, stays_f32


def preset_types(tensors: Sequence[PlannedTensor], mix: Mix) -> dict[str, str]:
    """The type of each tensor that may be quantized, by its name, before rows are divided into blocks."""
    return {tensor.name: _type(kind_of(tensor.name), mix) for tensor in tensors if not stays_f32(tensor)}


def _type(kind: str, mix: Mix) -> str:
    if kind.endswith("_exps"):
        return mix.experts_down or mix.base if kind == "ffn_down_exps" else mix.base
    return "Q6_K" if kind == "output" else "Q8_0"
