"""The parts that decoder architectures share: the skeleton, attention, dense feed-forward.

Names in comments: n tokens in the batch, h hidden size, d head_dim.
"""

from __future__ import annotations

from dataclasses import dataclass

from glmq_kernels import operations as ops
from glmq_kernels.errors import UserError
from glmq_kernels.operands import Activation, Experts, Matrix
from glmq_kernels.tape import Tape

from ..kv_cache import CacheShape
from ..program import Program, Rotary
from ..weights import Weights


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of grouped-query attention."""

    n_heads: int
    n_kv_heads: int
    head_dim: int

    def check(self) -> None:
        """Refuse what the attention kernels cannot do."""
        if self.n_heads % self.n_kv_heads:
            raise UserError(
                f"{self.n_heads} attention heads cannot share {self.n_kv_heads} key/value heads evenly"
            )
        if self.head_dim % 16:
            raise UserError(
                f"attention heads of {self.head_dim} dimensions are not supported: not a multiple of 16"
            )


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
        n_layers: int,
        hidden_size: int,
        shape: AttentionShape,
        rotary: Rotary,
        epsilon: float,
        n_vocab: int,
    ) -> None:
        shape.check()
        # Before memory is taken for sizes that the file only claims.
        weights.check("blk.0.attn_q.weight", (shape.n_heads * shape.head_dim, hidden_size))
        weights.check("blk.0.attn_k.weight", (shape.n_kv_heads * shape.head_dim, hidden_size))
        self.weights, self.shape, self.epsilon = weights, shape, epsilon
        self.hidden_size, self.n_vocab = hidden_size, n_vocab
        self.tape = Tape(max_tokens, n_threads)
        cache_shape = CacheShape(n_layers, shape.n_kv_heads, shape.head_dim, cache_type)
        self.program = Program(self.tape, cache_shape, rotary, n_vocab)
        self.x = ops.float_rows(self.tape, hidden_size)
        self.normed = ops.new_activation(self.tape, hidden_size)
        self._q = ops.float_rows(self.tape, shape.n_heads * shape.head_dim)
        self._k, self._v = (ops.float_rows(self.tape, shape.n_kv_heads * shape.head_dim) for _ in range(2))
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
            self.tape, self.x, self.weights.vector(name, self.hidden_size), self.epsilon, self.normed
        )

    def attention(self, layer: int) -> None:
        """x += W_o softmax(q k^T) v, with q, k, v from `normed`."""
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
            n_kv_heads=shape.n_kv_heads,
            head_dim=shape.head_dim,
            n_rotated=self.program.rotary.n_rotated,
            interleaved=self.program.rotary.interleaved,
            cosines=self.program.cosines,
            sines=self.program.sines,
            q_norm=weights.optional_vector(f"{prefix}.attn_q_norm.weight", shape.head_dim),
            k_norm=weights.optional_vector(f"{prefix}.attn_k_norm.weight", shape.head_dim),
            epsilon=self.epsilon,
            cache_layer=layer,
            cache_type=self.program.cache_shape.type,
        )
        ops.attend(
            self.tape,
            self._q,
            self._attended,
            n_heads=shape.n_heads,
            n_kv_heads=shape.n_kv_heads,
            head_dim=shape.head_dim,
            cache_layer=layer,
            cache_type=self.program.cache_shape.type,
        )
        output = weights.matrix(
            f"{prefix}.attn_output.weight", self.hidden_size, shape.n_heads * shape.head_dim
        )
        bias = weights.optional_vector(f"{prefix}.attn_output.bias", self.hidden_size)
        projection = ops.Projection(output, self.x, bias)
        ops.matmul(self.tape, self._attended, projection, accumulate=True)

    def feed_forward(self, layer: int, width: int) -> None:
        """x += W_down (silu(W_gate normed) * W_up normed), dense."""
        self.dense(self.weights.experts(f"blk.{layer}", "", self.hidden_size, width))

    def dense(self, network: Experts, *, meet: bool = True) -> None:
        """The same for given matrices, up to the down product; with `meet` that as well."""
        hidden = self.hidden(network.gate.rows)
        ops.gate_up(self.tape, network, self.normed, self.normed, None, hidden, meet=meet)
        if meet:
            ops.down(self.tape, network, hidden, None, self.x)

    def hidden(self, width: int) -> Activation:
        """The inner activation of dense networks of a width."""
        if width not in self._hidden:
            self._hidden[width] = ops.new_activation(self.tape, width)
        return self._hidden[width]

    def head(self, tied: Matrix) -> None:
        """logits = W_head RMSNorm(x) of the wanted tokens."""
        ops.rms_norm(
            self.tape,
            self.x,
            self.weights.vector("output_norm.weight", self.hidden_size),
            self.epsilon,
            self.normed,
            outputs_only=True,
        )
        separate = "output.weight" in self.weights
        matrix = self.weights.matrix("output.weight", self.n_vocab, self.hidden_size) if separate else tied
        ops.matmul(self.tape, self.normed, ops.Projection(matrix, None), outputs_only=True)
