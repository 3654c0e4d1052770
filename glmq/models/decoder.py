"""The parts that decoder architectures share: the skeleton, attention, dense feed-forward.

Names in comments: n tokens in the batch, h hidden size, d head_dim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from glmq_kernels.errors import GlmqError
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.batch_part import EVERY_TOKEN, LOGITS_ONLY, OUTPUTS_ONLY
from glmq_kernels.ops.buffers import floats_of
from glmq_kernels.ops.operands import Activation, Experts, Matrix
from glmq_kernels.threads.tape import ActivationType, Tape

from ..gguf import GET_IT_AGAIN, GGUFFile, StringArray
from ..program import END_WITHOUT_OUTPUTS, Program
from ..rotary_angles import Rotary
from ..weights import Weights

HEAD = "head"
"""The tape's section of the final norm and the logits."""


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of grouped-query attention."""

    n_heads: int
    n_kv_heads: int
    head_dim: int

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> AttentionShape:
        """What the metadata says. Raises GlmqError for what the attention kernels cannot do."""
        prefix = file.text("general.architecture")
        n_heads = file.integer(f"{prefix}.attention.head_count", least=1)
        n_kv_heads = file.integer(f"{prefix}.attention.head_count_kv", n_heads, least=1)
        hidden_size = file.integer(f"{prefix}.embedding_length", least=1)
        head_dim = file.integer(f"{prefix}.attention.key_length", hidden_size // n_heads, least=1)
        if n_heads % n_kv_heads:
            raise GlmqError(
                f"{file.path}: {n_heads} attention heads cannot share {n_kv_heads} key/value heads evenly;"
                f" the file is damaged: {GET_IT_AGAIN}"
            )
        if head_dim % 16:
            raise GlmqError(
                f"{file.path}: attention heads of {head_dim} dimensions are not supported, only multiples of"
                " 16; choose another model"
            )
        return cls(n_heads, n_kv_heads, head_dim)


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


class Decoder:
    """A decoder under construction: its tape and the buffers that all layers use in turn.

    x (n, h)          the residual stream
    normed (n, h)     its normalized form, input of attention and feed-forward
    """

    def __init__(
        self,
        max_tokens: int,
        n_threads: int,
        weights: Weights,
        *,
        cache_type: str,
        activations: ActivationType,
        n_layers: int,
        hidden_size: int,
        shape: AttentionShape,
        rotary: Rotary,
        epsilon: float,
        n_vocab: int,
    ) -> None:
        # Before memory is taken for sizes that the file only claims.
        weights.check("blk.0.attn_q.weight", (shape.n_heads * shape.head_dim, hidden_size))
        weights.check("blk.0.attn_k.weight", (shape.n_kv_heads * shape.head_dim, hidden_size))
        self.weights, self.shape, self.epsilon = weights, shape, epsilon
        self.hidden_size, self.n_vocab = hidden_size, n_vocab
        self.tape = Tape(max_tokens, n_threads, activations)
        cache_shape = CacheShape(
            n_layers, shape.n_kv_heads, key_dim=shape.head_dim, value_dim=shape.head_dim, type=cache_type
        )
        planner = ops.attention_planner(self.tape, cache_shape, shape.n_heads)
        self.program = Program(self.tape, planner, rotary, n_vocab)
        self.x = ops.float_rows(self.tape, hidden_size)
        self.part = EVERY_TOKEN
        self.normed = ops.new_activation(self.tape, hidden_size)
        self._q = ops.float_rows(self.tape, shape.n_heads * shape.head_dim)
        self._k, self._v = (ops.float_rows(self.tape, shape.n_kv_heads * shape.head_dim) for _ in range(2))
        self._n_layers = n_layers
        self._attended = ops.new_activation(self.tape, shape.n_heads * shape.head_dim)
        self._hidden: dict[int, Activation] = {}

    def embed(self) -> Matrix:
        """x = rows of the embedding matrix, which is returned (a tied head uses it again)."""
        matrix = self.weights.matrix(
            "token_embd.weight", self.n_vocab, self.hidden_size, sparse="output.weight" in self.weights
        )
        ops.embed(self.tape, matrix, self.x)
        return matrix

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

    def attention(self, layer: int) -> None:
        """x += W_o softmax(q k^T) v, with q, k, v from `normed`.

        In the last layer only for tokens with outputs, of which alone x and `normed` are from there on.
        """
        shape, prefix, weights = self.shape, f"blk.{layer}", self.weights
        kv_size = shape.n_kv_heads * shape.head_dim
        projections = []
        for part, out, rows in (
            ("q", self._q, shape.n_heads * shape.head_dim),
            ("k", self._k, kv_size),
            ("v", self._v, kv_size),
        ):
            matrix = weights.matrix(f"{prefix}.attn_{part}.weight", rows, self.hidden_size)
            bias = weights.optional_vector(f"{prefix}.attn_{part}.bias", rows)
            projections.append(ops.Projection(matrix, out, bias))
        ops.matmul(self.tape, self.normed, *projections)
        ops.rotate_and_store(
            self.tape,
            self._q,
            self._k,
            self._v,
            n_heads=shape.n_heads,
            shape=self.program.cache_shape,
            layer=layer,
            n_rotated=self.program.rotary.n_rotated,
            interleaved=self.program.rotary.interleaved,
            cosines=self.program.cosines,
            sines=self.program.sines,
            q_norm=weights.optional_vector(f"{prefix}.attn_q_norm.weight", shape.head_dim),
            k_norm=weights.optional_vector(f"{prefix}.attn_k_norm.weight", shape.head_dim),
            epsilon=self.epsilon,
            scale=1 / math.sqrt(shape.head_dim),
        )
        if layer == self._n_layers - 1:
            self.tape.section(END_WITHOUT_OUTPUTS)
        ops.attend(self.tape, self._q, self._attended, self.program.planner, layer)
        if layer == self._n_layers - 1:
            self._keep_outputs()
        output = weights.matrix(
            f"{prefix}.attn_output.weight", self.hidden_size, shape.n_heads * shape.head_dim
        )
        bias = weights.optional_vector(f"{prefix}.attn_output.bias", self.hidden_size)
        projection = ops.Projection(output, self.x, bias)
        ops.matmul(self.tape, self._attended, projection, accumulate=True, part=self.part)

    def _keep_outputs(self) -> None:
        """Let x and the attention's output be rows of the tokens with outputs only."""
        tape, x, attended = self.tape, self.x, self._attended
        self.x = ops.float_rows(tape, self.hidden_size)
        self._attended = ops.new_activation(tape, attended.columns)
        self.part = OUTPUTS_ONLY
        ops.gather_outputs(tape, x, self.x, self.hidden_size, attended, self._attended)
        self.program.hidden = floats_of(self.x, tape.max_tokens, self.hidden_size)

    def feed_forward(self, layer: int, width: int) -> None:
        """x += W_down (silu(W_gate normed) * W_up normed), dense."""
        network = self.dense(self.weights.experts(f"blk.{layer}", "", self.hidden_size, width))
        ops.gate_up(self.tape, network, self.normed, self.normed, part=self.part)
        ops.down(self.tape, network, out=self.x, part=self.part)

    def dense(self, matrices: Experts) -> ops.Network:
        """A dense network, with the inner activation that all of its width share."""
        width = matrices.gate.rows
        if width not in self._hidden:
            self._hidden[width] = ops.new_activation(self.tape, width)
        return ops.Network(matrices, self._hidden[width])

    def head(self, tied: Matrix) -> None:
        """logits = W_head RMSNorm(x) of the wanted tokens."""
        self.tape.section(HEAD)
        ops.rms_norm(
            self.tape,
            self.x,
            self.weights.vector("output_norm.weight", self.hidden_size),
            self.epsilon,
            self.normed,
            LOGITS_ONLY,
        )
        separate = "output.weight" in self.weights
        matrix = self.weights.matrix("output.weight", self.n_vocab, self.hidden_size) if separate else tied
        ops.matmul(self.tape, self.normed, ops.Projection(matrix, None), part=LOGITS_ONLY)
