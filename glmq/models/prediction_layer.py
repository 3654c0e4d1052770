"""The layer of multi-token prediction (MTP, "nextn"): what follows the next token.

For token t_p at position p, and the trunk's final-normed hidden state h of position p - 1 (zeros for p = 0):

    z = eh_proj (rms(embedding of t_p) | rms(h))
    z = a layer of attention and experts of z, with a cache of its own
    u = rms(z), logits = W_head u        of the token at p + 1

It drafts further with the token drafted and u in the place of h, and, where that is worth it, with a head of
the likely tokens alone (`glmq/draft_head.py`). Follows MtpModel of Hugging Face
transformers, but that the layer's own embedding and head are used where a file has them, and that position 0
has a row, as llama.cpp has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.batch_part import LOGITS_ONLY
from glmq_kernels.ops.buffers import floats_of
from glmq_kernels.ops.operands import Matrix

from ..draft_head import DraftHead, draft_rows
from ..gguf import GGUFFile, StringArray
from ..tape_sections import DRAFT_HEAD, HEAD, STORE
from ..weights import Weights
from .decoder import Attention, Decoder
from .expert_layers import ExpertSizes, feed_forward
from .metadata import ROPE, SIZES
from .trunk import prediction_block

MOST_TOKENS = 512
"""Of a run of the layer: more at once would be no faster."""

OF_THE_TRUNK_ALONE = frozenset(("block_count", "context_length", "feed_forward_length"))
"""Sizes in which a file with the layer alone may differ from that of the trunk."""


def add_prediction(
    trunk: Decoder, weights: Weights, attention: Callable[[Decoder], Attention], norm: str
) -> None:
    """Give a trunk's program the layer of multi-token prediction.

    weights: of the file that holds it. attention, norm: as the trunk's layers have them. Raises GlmqError
    where the layer does not fit the trunk.
    """
    layer = trunk.layer_numbers.stop
    check_fits(trunk.file, layer, weights.file)
    sizes = replace(ExpertSizes.from_gguf(weights.file), n_dense_layers=layer)
    sizes.check(weights.file, layer + 1)
    decoder = Decoder(
        trunk.file, weights, min(trunk.tape.max_tokens, MOST_TOKENS), trunk.tape.n_threads,
        trunk.program.cache_shape.type, trunk.tape.activations,
        layers=range(layer, layer + 1), cache=trunk.program.cache_shape, shape=trunk.shape,
        rotary=trunk.program.rotary,
    )  # fmt: skip
    attends = attention(decoder)
    hidden = ops.float_rows(decoder.tape, decoder.hidden_size)
    _join(decoder, layer, _own_or(decoder, f"blk.{layer}.nextn.embed_tokens.weight", trunk.embedding), hidden)
    decoder.tape.section(STORE)
    decoder.norm(f"blk.{layer}.attn_norm.weight")
    attends.store(layer)
    decoder.layer(layer, attends, norm, feed_forward(decoder, sizes, dense_width=0))
    own_norm = f"blk.{layer}.nextn.shared_head_norm.weight"
    norm_of = weights if own_norm in weights else trunk.weights
    decoder.final_norm(
        norm_of.vector(own_norm if own_norm in weights else "output_norm.weight", decoder.hidden_size)
    )
    decoder.tape.section(HEAD)
    output = _own_or(decoder, f"blk.{layer}.nextn.shared_head_head.weight", trunk.output)
    ops.matmul(decoder.tape, decoder.normed, ops.Projection(output, None), part=LOGITS_ONLY)
    _add_draft_head(trunk, decoder, output)
    weights.check_all_used(lambda name: not name.startswith(f"blk.{layer}."))
    decoder.program.hidden_inputs = floats_of(hidden, decoder.tape.max_tokens, decoder.hidden_size)
    trunk.program.prediction = decoder.program


def check_fits(trunk: GGUFFile, n_layers: int, file: GGUFFile) -> None:
    """Refuse a layer, or a file without one, that is not of the trunk's model."""
    block = prediction_block(file)
    if block is None:
        raise GlmqError(f"{file.path} holds no layer of multi-token prediction; choose a file with one")
    if file is trunk:
        return
    architecture = trunk.text("general.architecture")
    pairs: list[tuple[str, Any, Any]] = [
        ("general.architecture", architecture, file.text("general.architecture"))
    ]
    for name in sorted((SIZES | ROPE) - OF_THE_TRUNK_ALONE):
        key = f"{architecture}.{name}"
        if key in trunk.metadata and key in file.metadata:
            pairs.append((key, trunk.metadata[key], file.metadata[key]))
    pairs.append(("number of layers before it", n_layers, block))
    pairs.append(("vocabulary", _n_tokens(trunk), _n_tokens(file)))
    for what, expected, found in pairs:
        if found is not None and found != expected:
            raise GlmqError(
                f"{file.path} holds a layer of multi-token prediction that does not fit {trunk.path.name}:"
                f" its {what} is {found}, not {expected}; choose that of the same model"
            )


def _join(decoder: Decoder, layer: int, embedding: Matrix, hidden: np.ndarray) -> None:
    """x = eh_proj of both norms side by side."""
    tape, weights, size = decoder.tape, decoder.weights, decoder.hidden_size
    prefix = f"blk.{layer}.nextn"
    rows, joined = ops.float_rows(tape, size), ops.new_activation(tape, 2 * size)
    ops.embed(tape, embedding, rows)
    ops.join_norms(
        tape,
        ops.NormedRows(rows, weights.vector(f"{prefix}.enorm.weight", size)),
        ops.NormedRows(hidden, weights.vector(f"{prefix}.hnorm.weight", size)),
        decoder.epsilon,
        joined,
    )
    matrix = weights.matrix(f"{prefix}.eh_proj.weight", size, 2 * size)
    ops.matmul(tape, joined, ops.Projection(matrix, decoder.x))


def _add_draft_head(trunk: Decoder, decoder: Decoder, output: Matrix) -> None:
    """A second, smaller head, where the whole one is a large part of what a draft and its check cost."""
    checked = sum(
        each.n_choices * each.n_bytes * (2 if each.routed else 1) for each in trunk.tape.work.products
    )
    work = decoder.tape.work
    layer_bytes = work.weight_bytes + work.output_bytes - output.n_bytes
    step_bytes = checked + layer_bytes
    n = draft_rows(output.rows, output.row_bytes, step_bytes)
    if n is None:
        return
    head = decoder.program.draft_head = DraftHead(output, n, step_bytes)
    decoder.tape.keep(head.matrix.memory)
    decoder.tape.section(DRAFT_HEAD)
    ops.matmul(decoder.tape, decoder.normed, ops.Projection(head.matrix, None), part=LOGITS_ONLY)


def _own_or(decoder: Decoder, name: str, of_trunk: Matrix) -> Matrix:
    """The layer's own table of all tokens where its file has one, else the trunk's."""
    if name not in decoder.weights:
        return of_trunk
    sparse = name.endswith("embed_tokens.weight")
    return decoder.weights.matrix(name, decoder.n_vocab, decoder.hidden_size, sparse=sparse)


def _n_tokens(file: GGUFFile) -> int | None:
    """Of the vocabulary, None where the file does not tell."""
    if "token_embd.weight" in file.tensors:
        return file.tensors["token_embd.weight"].shape[0]
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    return len(tokens) if isinstance(tokens, StringArray) else None
