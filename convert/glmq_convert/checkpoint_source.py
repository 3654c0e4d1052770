"""A Hugging Face checkpoint as the source of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gguf

from . import glm4_moe, glm4_moe_lite, llama
from .checkpoint import open_checkpoint
from .config import Glm4MoeConfig, read_config
from .general import add_general, checkpoint_name
from .interleaved_rows import CheckpointWithInterleavedRows
from .lite_config import Glm4MoeLiteConfig
from .llama_config import LlamaConfig
from .model_source import ModelSource, identity_of
from .mtp import MtpChoice, count_to_convert, layer_alone
from .plan import PlannedTensor, Weights
from .quantization import read_quantization
from .scaled_weights import ScaledWeights, scaled_weights
from .shards import WHOLE, ShardStore, shards_of
from .tokenizer import add_tokenizer
from .turned_keys import CheckpointWithTurnedKeys


def checkpoint_source(folder: Path, mtp: MtpChoice = True, store: ShardStore | None = None) -> ModelSource:
    """The checkpoint in a folder.

    mtp: with the layer of multi-token prediction, where it has one, or that alone.
    store: where the weights are, if not on the disk: they are then converted file by file.
    Raises GlmqError when something is wrong with it.
    """
    config = read_config(folder)
    n_layers, with_mtp = config.num_hidden_layers, bool(mtp)
    stored = open_checkpoint(folder, n_layers, with_mtp, store)
    checkpoint, remarks = scaled_weights(stored, read_quantization(folder), n_layers, with_mtp)
    n_mtp_layers = count_to_convert(config, checkpoint) if mtp else 0
    described = _describe(config, checkpoint, n_mtp_layers)
    tensors = described.tensors if mtp != "alone" else layer_alone(described.tensors, n_layers, str(folder))
    header = gguf.GGUFWriter(None, described.architecture)
    remarks += add_general(header, folder, tensors)
    described.add_metadata(header)
    remarks += add_tokenizer(header, folder, config.vocab_size)
    files = {name: tensor.path for name, tensor in stored.items()}
    return ModelSource(
        name=checkpoint_name(folder),
        tensors=tensors,
        header=header,
        weights=lambda tensors: described.weights,
        identity=store.identity
        if store
        else identity_of([folder / "config.json", *sorted(set(files.values()))]),
        shards=shards_of(files, store) if store else WHOLE,
        remarks=remarks,
    )


@dataclass(frozen=True)
class _Described:
    """A model in GGUF terms. weights: what the tensors are read from."""

    architecture: str
    weights: Weights
    tensors: list[PlannedTensor]
    add_metadata: Callable[[gguf.GGUFWriter], None]


def _describe(
    config: Glm4MoeConfig | Glm4MoeLiteConfig | LlamaConfig, checkpoint: ScaledWeights, n_mtp_layers: int
) -> _Described:
    weights: Weights
    if isinstance(config, LlamaConfig):
        weights = CheckpointWithInterleavedRows(checkpoint, config)
        tensors = llama.plan_tensors(config, weights, checkpoint)
        return _Described(llama.ARCHITECTURE, weights, tensors, partial(llama.add_metadata, config=config))
    if isinstance(config, Glm4MoeLiteConfig):
        weights = CheckpointWithTurnedKeys(checkpoint, config)
        tensors = glm4_moe_lite.plan_tensors(config, weights, checkpoint, n_mtp_layers)
        add = partial(glm4_moe_lite.add_metadata, config=config, n_mtp_layers=n_mtp_layers)
        return _Described(glm4_moe_lite.ARCHITECTURE, weights, tensors, add)
    tensors = glm4_moe.plan_tensors(config, checkpoint, checkpoint, n_mtp_layers)
    add = partial(glm4_moe.add_metadata, config=config, n_mtp_layers=n_mtp_layers)
    return _Described(glm4_moe.ARCHITECTURE, checkpoint, tensors, add)
