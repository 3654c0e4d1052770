"""The layer of multi-token prediction in a checkpoint: behind the model's own, and not always wanted."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

from glmq_kernels.errors import GlmqError

from .model_config import ModelConfig
from .plan import PlannedTensor

PARTS = (
    ".eh_proj.weight", ".enorm.weight", ".hnorm.weight", ".shared_head.norm.weight",
    ".shared_head.head.weight",
)  # fmt: skip
"""Tensors that only such a layer has."""


MtpChoice = bool | Literal["alone"]
"""Whether a file has the layer of multi-token prediction, or nothing but that."""

OF_ALL_FILES = ("token_embd.weight", "output_norm.weight", "output.weight")
"""Tensors that a file with the layer alone has too, as llama.cpp wants it."""


class MtpLayerError(GlmqError):
    """What is wrong concerns the layer of multi-token prediction alone: without it the model converts."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}, or leave the multi-token-prediction layer out", setting="no_mtp")


def layer_of(name: str) -> int:
    """The layer that a tensor belongs to, or -1."""
    found = re.match(r"model\.layers\.(\d{1,9})\.", name)
    return int(found[1]) if found else -1


def mtp_layers(config: ModelConfig, names: Collection[str]) -> frozenset[int]:
    """Layers of multi-token prediction of which tensors are there, by their numbers.

    config.json may claim ones that are not there, and where layers of the model were removed the layer may
    have kept its number.
    """
    marked = {layer_of(name) for name in names if name.endswith(PARTS)}
    return frozenset(layer for layer in marked if layer >= config.num_hidden_layers)


def count_to_convert(config: ModelConfig, names: Collection[str]) -> int:
    """How many such layers follow the model's own. Raises MtpLayerError when they do not."""
    layers = sorted(mtp_layers(config, names))
    first = config.num_hidden_layers
    for expected, layer in enumerate(layers, first):
        if layer != expected or layer >= first + config.num_nextn_predict_layers:
            raise MtpLayerError(
                f"layer {layer} is for multi-token prediction, but config.json tells of {first} layers and"
                f" {config.num_nextn_predict_layers} for multi-token prediction; correct config.json"
            )
    return len(layers)


def layer_alone(tensors: Sequence[PlannedTensor], n_layers: int, name: str) -> list[PlannedTensor]:
    """Those of a file's tensors that one with the layer alone has. n_layers: of the model itself.

    Raises GlmqError where the checkpoint, called `name`, has no such layer.
    """
    beside = tuple(f"blk.{layer}." for layer in range(n_layers))
    kept = [tensor for tensor in tensors if not tensor.name.startswith(beside)]
    if all(tensor.name in OF_ALL_FILES for tensor in kept):
        raise GlmqError(f"{name} has no layer of multi-token prediction, which alone was asked for")
    return kept
