"""The layers of the model itself, and those of multi-token prediction that a file may hold behind them."""

from __future__ import annotations

import re
from collections.abc import Callable

from glmq_kernels.errors import GlmqError

from ..gguf import GGUFFile


def trunk_layers(file: GGUFFile) -> int:
    """Layers of the model itself, without those of multi-token prediction behind them.

    `block_count` counts the latter or not, and files hold them or not, whatever the metadata says; what
    decides is which tensors are there.
    """
    architecture = file.text("general.architecture")
    blocks = file.integer(f"{architecture}.block_count", least=1)
    of_prediction = _prediction_blocks(file)
    trunk = 0
    while trunk < blocks and trunk not in of_prediction and _attention_norm(trunk) in file.tensors:
        trunk += 1
    if trunk == 0:
        raise GlmqError(
            f"{file.path} holds no model layers, only multi-token-prediction ones;"
            " choose the file that holds the model itself"
        )
    held = {block for name in file.tensors if trunk <= (block := _block_of(name)) < blocks}
    left_out = blocks - trunk - len(held)
    if held - of_prediction or left_out > file.integer(f"{architecture}.nextn_predict_layers", 0):
        file.tensor(_attention_norm(trunk))
    return trunk


def prediction_block(file: GGUFFile) -> int | None:
    """The number of a file's layer of multi-token prediction, the first of several; None for none."""
    with_projection = [
        block for block in _prediction_blocks(file) if f"blk.{block}.nextn.eh_proj.weight" in file.tensors
    ]
    return min(with_projection, default=None)


def holds_trunk(file: GGUFFile) -> bool:
    """Whether a file holds the layers of the model itself, and not one of multi-token prediction alone."""
    return prediction_block(file) is None or _attention_norm(0) in file.tensors


def _attention_norm(block: int) -> str:
    return f"blk.{block}.attn_norm.weight"


def _block_of(name: str) -> int:
    """The number of the block that a tensor belongs to, or -1."""
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else -1


def of_prediction(file: GGUFFile) -> Callable[[str], bool]:
    """Whether a tensor belongs to layers of multi-token prediction, which the trunk does without."""
    architecture = file.text("general.architecture")
    blocks = file.integer(f"{architecture}.block_count")
    blocks_of_prediction = _prediction_blocks(file).union(
        range(blocks, blocks + file.integer(f"{architecture}.nextn_predict_layers", 0))
    )
    return lambda name: _block_of(name) in blocks_of_prediction


def _prediction_blocks(file: GGUFFile) -> frozenset[int]:
    """The blocks that are layers of multi-token prediction."""
    return frozenset(_block_of(name) for name in file.tensors if ".nextn." in name)
