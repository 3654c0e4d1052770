"""Logits of layers of multi-token prediction, by the engine and by a reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from glmq_kernels.arrays import copy_of

import glmq
from glmq.batch import SequencePart
from glmq.gguf import GGUFFile, open_gguf
from glmq.kv_cache.sequence import Sequence as TokenSequence


def load_without(path) -> glmq.Model:
    """A model without its layer."""
    return glmq.load(path, draft="off")


def load_predicting(path, layer_path=None, **options) -> glmq.Model:
    """A model with the layer of its own file, or of another one."""
    file = open_gguf(path)
    return glmq.Model(file, prediction=open_gguf(layer_path) if layer_path else file, **options)


def next_logits(
    model: glmq.Model, sequence: TokenSequence, tokens: Sequence[int], states: np.ndarray | None = None
) -> np.ndarray:
    """What the layer predicts behind tokens that follow a sequence's, from the hidden states before them.

    states: None for those that the sequence knows, of one token; rows that wait are then written before.
    """
    engine, n_behind = model._engine, 0
    if states is None:
        known = engine._prediction._states(sequence, len(sequence.tokens))
        n_behind, states = known.n_behind, known.rows[-known.n_behind - 1 :]
        tokens = [*sequence.tokens[len(sequence.tokens) - n_behind :], *tokens]
    logits = np.zeros((len(tokens), engine.n_vocab), np.float32)

    def run(wanted):
        first = len(sequence.tokens) - n_behind
        sequence.reserve(len(tokens) - n_behind)
        part = SequencePart(copy_of(tokens, np.int64), first, sequence.page_table, len(tokens), in_rows=False)
        engine._prediction.predict(engine._thread_pool, [part], states, logits)
        return wanted

    engine.scheduler.call(sequence, None, run)
    return logits


class Reference:
    """The layer by its specification, in float64, of a file of F32 weights.

    The row at position p is of the token there and the trunk's hidden state before it, zeros for p = 0.
    """

    def __init__(self, trunk: GGUFFile, file: GGUFFile, layer: int) -> None:
        self._file, self._trunk, self._prefix = file, trunk, f"blk.{layer}."
        self._architecture = trunk.text("general.architecture")

    def logits(self, tokens: Sequence[int], states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits behind each token, and the hidden states to draft on with; states: the trunk's."""
        before = np.vstack([np.zeros_like(states[:1]), states])[: len(tokens)]
        embedding = self._own_or("nextn.embed_tokens.weight", "token_embd.weight")
        joined = [self._rms(embedding[tokens], "nextn.enorm"), self._rms(before, "nextn.hnorm")]
        x = np.concatenate(joined, axis=1) @ self._weight("nextn.eh_proj.weight").T
        attend = self._attend if self._architecture == "glm4moe" else self._attend_latent
        x = x + attend(self._rms(x, "attn_norm"))
        norm = "post_attention_norm" if self._architecture == "glm4moe" else "ffn_norm"
        x = x + self._experts(self._rms(x, norm))
        last = self._rms(x, "nextn.shared_head_norm")
        return last @ self._own_or("nextn.shared_head_head.weight", "output.weight").T, last

    def _weight(self, name: str) -> np.ndarray:
        return _numbers(self._file, self._prefix + name)

    def _has(self, name: str) -> bool:
        return self._prefix + name in self._file.tensors

    def _own_or(self, own: str, of_trunk: str) -> np.ndarray:
        return self._weight(own) if self._has(own) else _numbers(self._trunk, of_trunk)

    def _integer(self, key: str) -> int:
        return self._trunk.integer(f"{self._architecture}.{key}")

    def _rms(self, x: np.ndarray, name: str) -> np.ndarray:
        return rms(x) * self._weight(f"{name}.weight")

    def _attend(self, x: np.ndarray) -> np.ndarray:
        n, dim, n_rotated = (
            len(x),
            self._integer("attention.key_length"),
            self._integer("rope.dimension_count"),
        )
        q, k, v = (
            (x @ self._weight(f"attn_{part}.weight").T + self._weight(f"attn_{part}.bias")).reshape(
                n, -1, dim
            )
            for part in "qkv"
        )
        q, k = (rms(each) * self._weight(f"attn_{part}_norm.weight") for part, each in (("q", q), ("k", k)))
        q, k = (turn_halves(each, n_rotated, self._theta) for each in (q, k))
        repeats = q.shape[1] // k.shape[1]
        k, v = (np.repeat(each, repeats, axis=1) for each in (k, v))
        return causal(q, k, v, dim**-0.5).reshape(n, -1) @ self._weight("attn_output.weight").T

    def _attend_latent(self, x: np.ndarray) -> np.ndarray:
        n, n_heads, n_rotated = (
            len(x),
            self._integer("attention.head_count"),
            self._integer("rope.dimension_count"),
        )
        rank = self._integer("attention.kv_lora_rank")
        q = (
            self._rms(x @ self._weight("attn_q_a.weight").T, "attn_q_a_norm")
            @ self._weight("attn_q_b.weight").T
        )
        q = q.reshape(n, n_heads, -1)
        row = x @ self._weight("attn_kv_a_mqa.weight").T
        c, k_pe = self._rms(row[:, :rank], "attn_kv_a_norm"), row[:, None, rank:]
        k_nope = np.einsum("hrd,tr->thd", self._weight("attn_k_b.weight"), c)
        v = np.einsum("hdr,tr->thd", self._weight("attn_v_b.weight"), c)
        nope = q.shape[2] - n_rotated
        q_pe, k_pe = (turn_neighbours(each, self._theta) for each in (q[..., nope:], k_pe))
        q = np.concatenate([q[..., :nope], q_pe], axis=2)
        k = np.concatenate([k_nope, np.repeat(k_pe, n_heads, axis=1)], axis=2)
        return causal(q, k, v, q.shape[2] ** -0.5).reshape(n, -1) @ self._weight("attn_output.weight").T

    def _experts(self, x: np.ndarray) -> np.ndarray:
        scores = 1 / (1 + np.exp(-(x @ self._weight("ffn_gate_inp.weight").T)))
        top_k = self._integer("expert_used_count")
        chosen = np.argsort(-(scores + self._weight("exp_probs_b.bias")), axis=1)[:, :top_k]
        weights = np.take_along_axis(scores, chosen, axis=1)
        weights *= self._trunk.number(f"{self._architecture}.expert_weights_scale") / weights.sum(
            1, keepdims=True
        )
        gate, up, down = (self._weight(f"ffn_{part}_exps.weight") for part in ("gate", "up", "down"))
        out = feed_forward(x, *(self._weight(f"ffn_{part}_shexp.weight") for part in ("gate", "up", "down")))
        for t, (experts, shares) in enumerate(zip(chosen, weights, strict=True)):
            for expert, share in zip(experts, shares, strict=True):
                out[t] += share * feed_forward(x[t], gate[expert], up[expert], down[expert])
        return out

    @property
    def _theta(self) -> float:
        return self._trunk.number(f"{self._architecture}.rope.freq_base")


def _numbers(file: GGUFFile, name: str) -> np.ndarray:
    return file.data(name).view(np.float32).reshape(file.tensor(name).shape).astype(np.float64)


def rms(x: np.ndarray) -> np.ndarray:
    """Rows by their root mean square."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)


def feed_forward(x: np.ndarray, gate: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """W_down (silu(W_gate x) * W_up x)."""
    gated = x @ gate.T
    return (gated / (1 + np.exp(-gated)) * (x @ up.T)) @ down.T


def turn_halves(x: np.ndarray, n_rotated: int, theta: float) -> np.ndarray:
    """Rotary embedding of (positions, heads, dim), pairs (i, i + n / 2)."""
    half = n_rotated // 2
    angles = np.arange(len(x))[:, None, None] * theta ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:n_rotated]
    turned = [a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)]
    return np.concatenate([*turned, x[..., n_rotated:]], axis=2)


def turn_neighbours(x: np.ndarray, theta: float) -> np.ndarray:
    """The same of neighbouring pairs, all of them."""
    in_halves = np.concatenate([x[..., ::2], x[..., 1::2]], axis=2)
    half = x.shape[2] // 2
    turned = turn_halves(in_halves, x.shape[2], theta)
    return np.stack([turned[..., :half], turned[..., half:]], axis=3).reshape(x.shape)


def causal(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    """Attention of (positions, heads, dim), each position to itself and those before."""
    scores = np.einsum("thd,shd->hts", q, k) * scale
    scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    return np.einsum("hts,shd->thd", shares / shares.sum(axis=2, keepdims=True), v)
