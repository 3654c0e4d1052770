"""Names and shapes of the tensors of GLM's files, by the sizes in their configurations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glmq_convert.plan import PlannedTensor


@dataclass(frozen=True)
class Sizes:
    """Of a model. own_tables: whether the layer of multi-token prediction has an embedding and a head."""

    hidden: int
    n_layers: int
    n_dense: int
    dense: int
    n_experts: int
    expert: int
    vocabulary: int
    n_heads: int = 96
    latent: bool = False
    n_mtp: int = 0
    own_tables: bool = False


AIR = Sizes(4096, 46, 1, 10944, 128, 1408, 151552)
AIR_WITH_MTP = Sizes(4096, 46, 1, 10944, 128, 1408, 151552, n_mtp=1, own_tables=True)
GLM_46 = Sizes(5120, 92, 3, 12288, 160, 1536, 151552, n_mtp=1)
FLASH = Sizes(2048, 47, 1, 10240, 64, 1536, 154880, n_heads=20, latent=True)


def tensors_of(sizes: Sizes) -> list[PlannedTensor]:
    """Every tensor of a file, without its source."""
    return [PlannedTensor(name, shape, ()) for name, shape in _shapes(sizes)]


def _shapes(s: Sizes) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (s.vocabulary, s.hidden)
    yield "output_norm.weight", (s.hidden,)
    yield "output.weight", (s.vocabulary, s.hidden)
    for i in range(s.n_layers + s.n_mtp):
        yield f"blk.{i}.attn_norm.weight", (s.hidden,)
        for part, shape in (_latent(s) if s.latent else _attention(s)).items():
            yield f"blk.{i}.attn_{part}.weight", shape
        for suffix, lead, width in _feed_forward(s, i):
            for part, shape in (("gate", (width, s.hidden)), ("up", (width, s.hidden))):
                yield f"blk.{i}.ffn_{part}{suffix}.weight", (*lead, *shape)
            yield f"blk.{i}.ffn_down{suffix}.weight", (*lead, s.hidden, width)
        if i >= s.n_dense:
            yield f"blk.{i}.ffn_gate_inp.weight", (s.n_experts, s.hidden)
            yield f"blk.{i}.exp_probs_b.bias", (s.n_experts,)
        if i >= s.n_layers:
            yield f"blk.{i}.nextn.eh_proj.weight", (s.hidden, 2 * s.hidden)
            for table in ("embed_tokens", "shared_head_head") if s.own_tables else ():
                yield f"blk.{i}.nextn.{table}.weight", (s.vocabulary, s.hidden)


def _attention(s: Sizes) -> dict[str, tuple[int, ...]]:
    width = 128 * s.n_heads
    return {
        "q": (width, s.hidden), "k": (8 * 128, s.hidden), "v": (8 * 128, s.hidden), "v.bias": (1024,),
        "output": (s.hidden, width),
    }  # fmt: skip


def _latent(s: Sizes) -> dict[str, tuple[int, ...]]:
    return {
        "q_a": (768, s.hidden), "q_a_norm": (768,), "q_b": (s.n_heads * 256, 768),
        "kv_a_mqa": (576, s.hidden), "k_b": (s.n_heads, 512, 192), "v_b": (s.n_heads, 256, 512),
        "output": (s.hidden, s.n_heads * 256),
    }  # fmt: skip


def _feed_forward(s: Sizes, i: int) -> list[tuple[str, tuple[int, ...], int]]:
    if i < s.n_dense:
        return [("", (), s.dense)]
    return [("_exps", (s.n_experts,), s.expert), ("_shexp", (), s.expert)]
