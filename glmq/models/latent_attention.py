"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): all heads read one short row of each token.

For a token's normed input a, by head h:

    q = W_qb rms(W_qa a)       by head q_nope | q_pe      (or W_q a, without compression)
    W_kva a = c | k_pe         the cached row is rms(c) | rope(k_pe), one for all heads
    keys k_nope = K_h c, values v = V_h c

Few tokens are computed in the absorbed form: q_nope K_h meets the cached row itself, and V_h comes last.

    score = (K_h^T q_nope . c + rope(q_pe) . k_pe) / sqrt(nope + rope)
    x += W_o concat_h(V_h sum_t softmax(score)_t c_t)

Many tokens of a sequence, from where it is cheaper (`ops/expanded_attention/work_list.py`), in the expanded
form: keys and values as written above, worked out for each cached row. They stand last in a run.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.batch_part import ABSORBED, ABSORBED_OUTPUTS, BatchPart
from glmq_kernels.ops.batch_state import N_ATTEND_OUTPUTS
from glmq_kernels.ops.operands import Activation

from .decoder import Decoder
from .latent_shape import LatentShape
from .latent_weights import key_matrices, value_matrices


class LatentAttention:
    """The attention of a decoder's layers, with the buffers that they use in turn."""

    def __init__(self, decoder: Decoder, shape: LatentShape) -> None:
        self._decoder, self._shape = decoder, shape
        self._score_scale = decoder.program.rotary.score_factor / math.sqrt(shape.head_dim)
        tape, n_heads = decoder.tape, shape.n_heads
        if shape.q_rank:
            self._compressed_rows = ops.float_rows(tape, shape.q_rank)
            self._compressed = ops.new_activation(tape, shape.q_rank)
        self._head_queries = ops.float_rows(tape, n_heads * shape.head_dim)
        self._row = ops.float_rows(tape, shape.row_dim)
        self._nope = ops.new_heads(tape, n_heads, shape.nope_dim)
        self._queries = ops.float_rows(tape, n_heads * shape.row_dim)
        self._attended = ops.float_rows(tape, n_heads * shape.kv_rank)
        self._latent = ops.new_heads(tape, n_heads, shape.kv_rank)
        self._values = ops.new_activation(tape, n_heads * shape.value_dim)

    def layer(self, layer: int) -> None:
        """x += the attention of `normed`."""
        decoder, shape, prefix = self._decoder, self._shape, f"blk.{layer}"
        self._queries_and_row(prefix)
        self._rotate_and_store(prefix, layer, shape.n_heads)
        decoder.begin_attention(layer)
        self._absorb_keys(prefix)
        self._attend(prefix, layer)
        values = self._outputs(prefix) if decoder.is_last(layer) else self._values
        if not decoder.is_last(layer):
            self._apply_values(prefix, self._attended, values, ABSORBED)
        if shape.value_dim % 32:
            ops.prepare_rows(decoder.tape, values, decoder.part)
        output = decoder.weights.matrix(
            f"{prefix}.attn_output.weight", decoder.hidden_size, shape.n_heads * shape.value_dim
        )
        projection = ops.Projection(output, decoder.x)
        ops.matmul(decoder.tape, values, projection, accumulate=True, part=decoder.part)

    def store(self, layer: int) -> None:
        """The row that is cached of `normed`."""
        prefix = f"blk.{layer}"
        ops.matmul(self._decoder.tape, self._decoder.normed, self._row_projection(prefix))
        self._rotate_and_store(prefix, layer, n_heads=0)

    def _row_projection(self, prefix: str) -> ops.Projection:
        shape, decoder = self._shape, self._decoder
        name = f"{prefix}.attn_kv_a_mqa.weight"
        return ops.Projection(decoder.weights.matrix(name, shape.row_dim, decoder.hidden_size), self._row)

    def _queries_and_row(self, prefix: str) -> None:
        """Every head's queries, and the row that will be cached."""
        decoder, shape = self._decoder, self._shape
        tape, weights, hidden_size = decoder.tape, decoder.weights, decoder.hidden_size
        row = self._row_projection(prefix)
        size = shape.n_heads * shape.head_dim
        if not shape.q_rank:
            matrix = weights.matrix(f"{prefix}.attn_q.weight", size, hidden_size)
            ops.matmul(tape, decoder.normed, ops.Projection(matrix, self._head_queries), row)
            return
        matrix = weights.matrix(f"{prefix}.attn_q_a.weight", shape.q_rank, hidden_size)
        ops.matmul(tape, decoder.normed, ops.Projection(matrix, self._compressed_rows), row)
        norm = weights.vector(f"{prefix}.attn_q_a_norm.weight", shape.q_rank)
        ops.rms_norm(tape, self._compressed_rows, norm, decoder.epsilon, self._compressed)
        matrix = weights.matrix(f"{prefix}.attn_q_b.weight", size, shape.q_rank)
        ops.matmul(tape, self._compressed, ops.Projection(matrix, self._head_queries))

    def _rotate_and_store(self, prefix: str, layer: int, n_heads: int) -> None:
        """Rotate and scale queries; norm, rotate and store the row."""
        decoder, shape, program = self._decoder, self._shape, self._decoder.program
        ops.rotate_and_store(
            decoder.tape,
            self._head_queries,
            self._row,
            None,
            n_heads=n_heads,
            shape=program.cache_shape,
            layer=layer,
            n_rotated=shape.rope_dim,
            query_dim=shape.head_dim,
            query_rotated_from=shape.nope_dim,
            key_rotated_from=shape.kv_rank,
            interleaved=program.rotary.interleaved,
            cosines=program.cosines,
            sines=program.sines,
            q_norm=None,
            k_norm=decoder.weights.vector(f"{prefix}.attn_kv_a_norm.weight", shape.kv_rank),
            n_normed=shape.kv_rank,
            epsilon=decoder.epsilon,
            scale=self._score_scale,
        )

    def _absorb_keys(self, prefix: str) -> None:
        """queries = K_h^T q_nope | q_pe of each head."""
        shape, tape = self._shape, self._decoder.tape
        ops.gather_heads(
            tape, self._head_queries, self._nope, n_heads=shape.n_heads,
            source_columns=shape.head_dim, rest=(self._queries, shape.row_dim), part=ABSORBED,
        )  # fmt: skip
        matrices = replace(
            key_matrices(self._decoder.weights, prefix, shape),
            input_scale=self._score_scale,  # by `_rotate_and_store`
        )
        ops.multiply_heads(
            tape, self._nope, matrices, self._queries, out_columns=shape.row_dim, part=ABSORBED
        )

    def _attend(self, prefix: str, layer: int) -> None:
        """values of the tokens that are expanded, attended of the others."""
        decoder, shape, planner = self._decoder, self._shape, self._decoder.program.planner
        if planner.latent:
            keys, values = (
                matrices(decoder.weights, prefix, shape) for matrices in (key_matrices, value_matrices)
            )
            ops.attend_expanded(decoder.tape, self._head_queries, keys, values, self._values, planner, layer)
        ops.attend(decoder.tape, self._queries, self._attended, planner, layer)

    def _apply_values(self, prefix: str, attended: np.ndarray, values: Activation, part: BatchPart) -> None:
        """values = V_h of each head's sum of latent rows."""
        shape, tape = self._shape, self._decoder.tape
        ops.gather_heads(
            tape, attended, self._latent, n_heads=shape.n_heads, source_columns=shape.kv_rank, part=part
        )
        matrices = value_matrices(self._decoder.weights, prefix, shape)
        out: np.ndarray | Activation = values.rows if shape.value_dim % 32 else values
        ops.multiply_heads(tape, self._latent, matrices, out, out_columns=shape.value_dim, part=part)

    def _outputs(self, prefix: str) -> Activation:
        """The values of the tokens with outputs."""
        decoder, shape, tape = self._decoder, self._shape, self._decoder.tape
        decoder.keep_outputs()
        attended = ops.float_rows(tape, shape.n_heads * shape.kv_rank)
        values = ops.new_activation(tape, shape.n_heads * shape.value_dim)
        ops.gather_outputs(
            tape, self._values.rows, values.columns, values, first_slot=N_ATTEND_OUTPUTS, barrier=False
        )
        ops.gather_outputs(
            tape, self._attended, shape.n_heads * shape.kv_rank, attended, last_slot=N_ATTEND_OUTPUTS
        )
        self._apply_values(prefix, attended, values, ABSORBED_OUTPUTS)
        return values
