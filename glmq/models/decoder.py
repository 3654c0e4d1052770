"""The parts that decoder architectures share: the skeleton and the dense feed-forward.

Names in comments: n tokens in the batch, h hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.batch_part import EVERY_TOKEN, LOGITS_ONLY, OUTPUTS_ONLY
from glmq_kernels.ops.buffers import floats_of
from glmq_kernels.ops.expanded_attention.sizes import LatentSizes
from glmq_kernels.ops.operands import Activation, Experts, Matrix
from glmq_kernels.threads.tape import ActivationType, Tape

from ..gguf import GET_IT_AGAIN, GGUFFile, StringArray
from ..program import Program
from ..rotary_angles import Rotary
from ..tape_sections import END_WITHOUT_OUTPUTS, FINAL_NORM, HEAD
from ..weights import Weights


def vocabulary_size(file: GGUFFile) -> int:
    """Rows of the embedding. Raises GlmqError where the tokenizer has another number of tokens."""
    shape = file.tensor("token_embd.weight").shape
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if len(shape) != 2 or (isinstance(tokens, StringArray) and len(tokens) != shape[0]):
        n_tokens = f"{len(tokens)} tokens" if isinstance(tokens, StringArray) else "rows of weights"
        raise GlmqError(
            f"{file.path}: token_embd.weight has shape {shape}, which does not fit {n_tokens};"
            f" the file is damaged: {GET_IT_AGAIN}"
        )
    return shape[0]


class AttentionSizes(Protocol):
    """Sizes of an architecture's attention."""

    @property
    def n_heads(self) -> int:
        """Query heads."""

    @property
    def expansion(self) -> LatentSizes | None:
        """Of latent attention, where the kernels can expand its rows."""

    def cache(self, n_layers: int, cache_type: str, n_prediction_layers: int = 0) -> CacheShape:
        """What is kept of each token."""

    def check_weights(self, weights: Weights, hidden_size: int, layer: int) -> None:
        """Refuse sizes that the file only claims, before memory is taken for them."""


class Attention(Protocol):
    """The attention of all layers."""

    def layer(self, layer: int) -> None:
        """x += the attention of `normed`."""

    def store(self, layer: int) -> None:
        """Of `normed` only what the cache keeps."""


FeedForward = Callable[[int], None]
"""x += a layer's feed-forward network of `normed`."""


class Decoder:
    """A decoder under construction: its tape and the buffers that all layers use in turn.

    x (n, h)          the residual stream
    normed (n, h)     its normalized form, input of attention and feed-forward

    embedding, output: the matrices of the first and the last step, once they are built.
    """

    def __init__(
        self,
        file: GGUFFile,
        weights: Weights,
        max_tokens: int,
        n_threads: int,
        cache_type: str,
        activations: ActivationType,
        *,
        layers: range,
        cache: CacheShape,
        shape: AttentionSizes,
        rotary: Rotary,
    ) -> None:
        """The first of them are what `build` of an architecture is given."""
        prefix = file.text("general.architecture")
        self.file, self.weights, self.shape = file, weights, shape
        self.epsilon = file.number(f"{prefix}.attention.layer_norm_rms_epsilon", least=0)
        self.layer_numbers, self.n_vocab = layers, vocabulary_size(file)
        self.hidden_size = file.integer(f"{prefix}.embedding_length", least=1)
        shape.check_weights(weights, self.hidden_size, layers.start)
        # Expanded rows pass by the matrices of heads, so those would not see what they meet.
        expansion = None if weights.observes(f"blk.{layers.start}.attn_k_b.weight") else shape.expansion
        self.tape = Tape(max_tokens, n_threads, activations)
        planner = ops.attention_planner(self.tape, cache, shape.n_heads, expansion)
        self.program = Program(self.tape, planner, rotary, self.n_vocab)
        self.x = ops.float_rows(self.tape, self.hidden_size)
        self.part = EVERY_TOKEN
        self.normed = ops.new_activation(self.tape, self.hidden_size)
        self.embedding: Matrix
        self.output: Matrix
        self._hidden: dict[int, Activation] = {}

    def layers(self, attention: Attention, norm: str, feed_forward: FeedForward) -> None:
        """The whole pass. norm: which one comes before `feed_forward`."""
        self.embed()
        for layer in self.layer_numbers:
            self.layer(layer, attention, norm, feed_forward)
        self.head()

    def layer(self, layer: int, attention: Attention, norm: str, feed_forward: FeedForward) -> None:
        """One layer, from its first norm on."""
        self.tape.section(f"blk.{layer}")
        self.norm(f"blk.{layer}.attn_norm.weight")
        attention.layer(layer)
        self.norm(f"blk.{layer}.{norm}.weight")
        feed_forward(layer)

    def embed(self) -> None:
        """x = rows of the embedding matrix."""
        self.embedding = self.weights.matrix(
            "token_embd.weight", self.n_vocab, self.hidden_size, sparse="output.weight" in self.weights
        )
        ops.embed(self.tape, self.embedding, self.x)

    def norm(self, name: str) -> None:
        """normed = RMSNorm(x)."""
        ops.rms_norm(
            self.tape,
            self.x,
            self.weights.vector(name, self.hidden_size),
            self.epsilon,
            self.normed,
            self.part,
        )

    def is_last(self, layer: int) -> bool:
        """Whether a layer is the last, which goes on after attention with the tokens that have outputs."""
        return layer == self.layer_numbers[-1]

    def begin_attention(self, layer: int) -> None:
        """What a layer adds from here on is needed by later layers, or, in the last, for outputs only."""
        if self.is_last(layer):
            self.tape.section(END_WITHOUT_OUTPUTS)

    def keep_outputs(self) -> None:
        """Let x be of the tokens with outputs only, as everything is from here on.

        The threads do not wait for each other afterwards.
        """
        tape, x = self.tape, self.x
        self.x = ops.float_rows(tape, self.hidden_size)
        self.part = OUTPUTS_ONLY
        ops.gather_outputs(tape, x, self.hidden_size, self.x, barrier=False)

    def feed_forward(self, layer: int, width: int) -> None:
        """x += W_down (silu(W_gate normed) * W_up normed), dense."""
        network = self.dense(self.weights.network(f"blk.{layer}", "", self.hidden_size, width))
        ops.gate_up(self.tape, network, self.normed, self.normed, part=self.part)
        ops.down(self.tape, network, out=self.x, part=self.part)

    def dense(self, matrices: Experts) -> ops.Network:
        """A dense network, with the inner activation that all of its width share."""
        width = matrices.gate.rows
        if width not in self._hidden:
            self._hidden[width] = ops.new_activation(self.tape, width)
        return ops.Network(matrices, self._hidden[width])

    def head(self) -> None:
        """logits = W_head RMSNorm(x) of the wanted tokens. A tied head is the embedding matrix."""
        separate = "output.weight" in self.weights
        self.output = (
            self.weights.matrix("output.weight", self.n_vocab, self.hidden_size)
            if separate
            else self.embedding
        )
        self.final_norm(self.weights.vector("output_norm.weight", self.hidden_size))
        self.tape.section(HEAD)
        rows = self.normed
        if self.program.cache_shape.n_prediction_layers:  # every token has an output, and few want logits
            rows = ops.new_activation(self.tape, self.hidden_size)
            ops.gather_logit_rows(self.tape, self.normed, rows)
        ops.matmul(self.tape, rows, ops.Projection(self.output, None), part=LOGITS_ONLY)

    def final_norm(self, weight: np.ndarray) -> None:
        """normed = RMSNorm(x), which a run gives as its hidden states."""
        self.tape.section(FINAL_NORM)
        ops.rms_norm(self.tape, self.x, weight, self.epsilon, self.normed, OUTPUTS_ONLY)
        self.program.hidden = floats_of(self.normed.rows, self.tape.max_tokens, self.hidden_size)
