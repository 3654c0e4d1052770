"""What the name and shape of a tensor tell: its layer, its kind, and whether it may be quantized."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..plan import PlannedTensor

_IN_A_BLOCK = re.compile(r"blk\.(\d{1,9})\.(.*)")
LATENT = ("attn_k_b", "attn_v_b")
"""Kinds of the matrices from which latent attention has its keys and values."""


def layer_of(name: str) -> int:
    """The block that a tensor belongs to, or -1."""
    found = _IN_A_BLOCK.fullmatch(name)
    return int(found[1]) if found else -1


def kind_of(name: str) -> str:
    """The name without block and `.weight`, such as ffn_down_exps."""
    found = _IN_A_BLOCK.fullmatch(name)
    return (found[2] if found else name).removesuffix(".weight")


def block_count(tensors: Iterable[PlannedTensor]) -> int:
    """Blocks of the file, those of multi-token prediction too."""
    return 1 + max((layer_of(tensor.name) for tensor in tensors), default=-1)


def stays_f32(tensor: PlannedTensor) -> bool:
    """Whether a tensor is F32 in every file: vectors, norms, routers, and everything but weights."""
    name = tensor.name
    always_float = len(tensor.shape) == 1 or name.endswith("_norm.weight") or not name.endswith(".weight")
    return always_float or name.endswith("ffn_gate_inp.weight")
