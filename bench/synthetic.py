"""Models of the shapes of GLM-4.5-Air and GLM-4.7-Flash with random weights.

The time of a pass does not depend on their values.

python bench/synthetic.py [TYPE]    three layers of Air's shape in glmq's cache folder; prints the path
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from zlib import crc32

import gguf
import numpy as np
from glmq_convert import glm4_moe, glm4_moe_lite
from glmq_convert.config import Glm4MoeConfig
from glmq_convert.gguf_writer import write_gguf
from glmq_convert.lite_config import Glm4MoeLiteConfig, parse_lite_config
from glmq_convert.mixes import TypeChoice, choose_types
from glmq_convert.plan import PlannedTensor
from glmq_convert.turned_keys import turned
from glmq_kernels.files.file_writing import check_target
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.jit.cache_folder import cache_folder

from glmq.forecast.random_weights import DEVIATION, EMBEDDING_SCALE, random_bytes, set_scales

NARROW = {
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL",
    "IQ3_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL", "IQ2_S": "IQ4_NL", "IQ2_XS": "IQ4_NL", "IQ2_XXS": "IQ4_NL",
    "IQ1_M": "IQ4_NL", "IQ1_S": "IQ4_NL", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
}  # fmt: skip
"""What llama.cpp's quantizer stores where rows do not divide into blocks of 256: Air's down matrices."""


def matrix_type(name: str, columns: int, type_name: str) -> str:
    """The type of a matrix in a file of a type. `Q4_K_M`: the mix that has this name."""
    if "embed_tokens" in name or "kv_b_proj" in name:
        return "Q8_0"
    if type_name == "Q4_K_M":
        wants_more = any(part in name for part in ("lm_head", "v_proj", "down_proj"))
        type_name = "Q6_K" if wants_more else "Q4_K"
    return type_name if columns % KERNEL_TYPES[type_name].block == 0 else NARROW[type_name]


def air_config(n_layers: int, vocab_size: int, *, mtp: bool = False) -> Glm4MoeConfig:
    """GLM-4.5-Air with fewer layers and tokens. mtp: with a layer of multi-token prediction."""
    return Glm4MoeConfig(
        vocab_size=vocab_size,
        hidden_size=4096,
        intermediate_size=10944,
        num_hidden_layers=n_layers,
        num_attention_heads=96,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_theta=1e6,
        partial_rotary_factor=0.5,
        attention_bias=True,
        use_qk_norm=False,
        tie_word_embeddings=False,
        first_k_dense_replace=1,
        n_routed_experts=128,
        num_experts_per_tok=8,
        n_shared_experts=1,
        moe_intermediate_size=1408,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=1.0,
        norm_topk_prob=True,
        num_nextn_predict_layers=int(mtp),
    )


def flash_config(n_layers: int, vocab_size: int, *, mtp: bool = False) -> Glm4MoeLiteConfig:
    """GLM-4.7-Flash with fewer layers and tokens."""
    fewer = {"num_hidden_layers": n_layers, "vocab_size": vocab_size, "num_nextn_predict_layers": int(mtp)}
    return parse_lite_config({"rope_theta": 1e6, **fewer})


def shapes(c: Glm4MoeConfig | Glm4MoeLiteConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a checkpoint's tensors."""
    h = c.hidden_size
    yield from (("model.embed_tokens.weight", (c.vocab_size, h)), ("lm_head.weight", (c.vocab_size, h)))
    yield "model.norm.weight", (h,)
    for i in range(c.num_hidden_layers + c.num_nextn_predict_layers):
        layer = f"model.layers.{i}."
        if i >= c.num_hidden_layers:
            yield f"{layer}eh_proj.weight", (h, 2 * h)
            yield from ((f"{layer}{norm}.weight", (h,)) for norm in ("enorm", "hnorm", "shared_head.norm"))
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{norm}.weight", (h,)
        of_kind = _latent_attention if isinstance(c, Glm4MoeLiteConfig) else _attention
        for name, shape in of_kind(c):  # type: ignore[arg-type]
            yield f"{layer}self_attn.{name}", shape
        if i < c.first_k_dense_replace:
            yield from _feed_forward(f"{layer}mlp.", c.intermediate_size, h)
            continue
        yield f"{layer}mlp.gate.weight", (c.n_routed_experts, h)
        yield f"{layer}mlp.gate.e_score_correction_bias", (c.n_routed_experts,)
        yield from _feed_forward(f"{layer}mlp.shared_experts.", c.moe_intermediate_size, h)
        for j in range(c.n_routed_experts):
            yield from _feed_forward(f"{layer}mlp.experts.{j}.", c.moe_intermediate_size, h)


def _attention(c: Glm4MoeConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    heads, kv = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    for part, rows in (("q", heads), ("k", kv), ("v", kv)):
        yield f"{part}_proj.weight", (rows, c.hidden_size)
        yield f"{part}_proj.bias", (rows,)
    yield "o_proj.weight", (c.hidden_size, heads)


def _latent_attention(c: Glm4MoeLiteConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    n_heads = c.num_attention_heads
    yield "q_a_proj.weight", (c.q_lora_rank, c.hidden_size)
    yield "q_a_layernorm.weight", (c.q_lora_rank,)
    yield "q_b_proj.weight", (n_heads * c.qk_head_dim, c.q_lora_rank)
    yield "kv_a_proj_with_mqa.weight", (c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size)
    yield "kv_a_layernorm.weight", (c.kv_lora_rank,)
    yield "kv_b_proj.weight", (n_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank)
    yield "o_proj.weight", (c.hidden_size, n_heads * c.v_head_dim)


def _feed_forward(prefix: str, width: int, h: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{prefix}gate_proj.weight", (width, h)
    yield f"{prefix}up_proj.weight", (width, h)
    yield f"{prefix}down_proj.weight", (h, width)


class RandomWeights:
    """A checkpoint of random weights (see `glmq_convert.plan.Weights`), already quantized.

    query_scale: a factor of the matrices that give queries.
    """

    def __init__(
        self, config: Glm4MoeConfig | Glm4MoeLiteConfig, type_name: str, query_scale: float = 1.0
    ) -> None:
        self._query_scale = query_scale
        self._shapes = dict(shapes(config))
        self._of_rows: dict[str, tuple[int, ...]] = dict(self._shapes)
        if isinstance(config, Glm4MoeLiteConfig):
            keys = (config.num_attention_heads, config.kv_lora_rank, config.qk_nope_head_dim)
            self._of_rows |= {turned(name): keys for name in self._shapes if "kv_b_proj" in name}
        self._type = type_name
        rng = np.random.default_rng(0)
        self._bytes = random_bytes(type_name, 64 << 20, rng)
        self._floats = rng.standard_normal(1 << 20, np.float32)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions, outermost first."""
        return self._shapes[name]

    def item_bytes(self, name: str) -> int:
        """At most so many bytes a weight."""
        return 4

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Random rows in the tensor's type."""
        columns = self._of_rows[name][-1]
        vector = len(self._of_rows[name]) == 1
        if vector or name.endswith("mlp.gate.weight"):
            norm = 1.0 if "norm" in name else 0.0
            size = n_rows * columns
            return (norm + 0.05 * np.resize(self._floats, size)).reshape(n_rows, columns).astype(np.float32)
        type_name = matrix_type(name, columns, self._type)
        if KERNEL_TYPES[type_name].is_float:
            return (DEVIATION * np.resize(self._floats, n_rows * columns)).reshape(n_rows, columns)
        return self._blocks(type_name, name, first_row, n_rows, columns)

    def _blocks(self, type_name: str, name: str, first_row: int, n_rows: int, columns: int) -> np.ndarray:
        kind = KERNEL_TYPES[type_name]
        row_bytes = kind.row_bytes(columns)
        start = crc32(f"{name} {first_row}".encode()) % (len(self._bytes) - n_rows * row_bytes)
        blocks = self._bytes[start : start + n_rows * row_bytes].copy().reshape(-1, kind.block_bytes)
        scale = EMBEDDING_SCALE if "embed_tokens" in name else 1.0
        set_scales(type_name, blocks, self._query_scale if "q_proj" in name else scale)
        return blocks.reshape(n_rows, row_bytes)


def write_air(
    path: Path, type_name: str = "Q4_0", n_layers: int = 3, vocab_size: int = 32768, *, mtp: bool = False,
    query_scale: float = 1.0,
) -> Path:  # fmt: skip
    """A GGUF file, unless it is there. query_scale: a factor of the matrices that give queries."""
    if path.exists():
        return path
    config = air_config(n_layers, vocab_size, mtp=mtp)
    weights = RandomWeights(config, type_name, query_scale)
    planned = glm4_moe.plan_tensors(config, weights, weights, n_mtp_layers=int(mtp))
    header = gguf.GGUFWriter(None, glm4_moe.ARCHITECTURE)
    glm4_moe.add_metadata(header, config, n_mtp_layers=int(mtp))
    _add_tokenizer(header, vocab_size if mtp else None)
    return _write(path, header, planned, weights, type_name)


def write_flash(
    path: Path, type_name: str = "Q4_0", n_layers: int = 4, vocab_size: int = 32768, *, mtp: bool = False
) -> Path:
    """A GGUF file of GLM-4.7-Flash's shape, unless it is there."""
    if path.exists():
        return path
    config = flash_config(n_layers, vocab_size, mtp=mtp)
    weights = RandomWeights(config, type_name)
    planned = glm4_moe_lite.plan_tensors(config, weights, weights, n_mtp_layers=int(mtp))
    header = gguf.GGUFWriter(None, glm4_moe_lite.ARCHITECTURE)
    glm4_moe_lite.add_metadata(header, config, n_mtp_layers=int(mtp))
    _add_tokenizer(header, vocab_size if mtp else None)
    return _write(path, header, planned, weights, type_name)


def _add_tokenizer(header: gguf.GGUFWriter, vocab_size: int | None) -> None:
    """Names for so many tokens, as answers need them; or no tokenizer."""
    header.add_tokenizer_model("none" if vocab_size is None else "gpt2")
    if vocab_size is not None:
        header.add_tokenizer_pre("glm4")
        header.add_token_list([f"t{i}" for i in range(vocab_size)])


def _write(
    path: Path, header: gguf.GGUFWriter, planned: list[PlannedTensor], weights: RandomWeights, type_name: str
) -> Path:
    tensors = [
        replace(t, type=matrix_type(t.pieces[0].source, t.columns, type_name)) if t.type == "F16" else t
        for t in choose_types(planned, TypeChoice("F16"), has_importance=False)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(check_target(path, force=True), header, tensors, weights)
    return path


def write_checkpoint(folder: Path) -> Path:
    """A bfloat16 checkpoint of one dense and one expert layer (3 GB), unless it is there."""
    path = folder / "model.safetensors"
    if path.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    config = replace(air_config(2, 8192), n_routed_experts=64)
    (folder / "config.json").write_text(json.dumps({"model_type": "glm4_moe", **asdict(config)}))
    _write_tokenizer(folder, config.vocab_size)
    header, offset = {}, 0
    for name, shape in shapes(config):
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    encoded = json.dumps(header).encode()
    weights = (np.random.default_rng(0).standard_normal(32 << 20, np.float32) * 0.02).view(np.uint16)[1::2]
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        while offset:
            part = weights[: offset // 2].tobytes()
            file.write(part)
            offset -= len(part)
    unfinished.replace(path)
    return folder


def _write_tokenizer(folder: Path, n_vocab: int) -> None:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    vocab = {text: i for i, text in enumerate([*sorted(alphabet), *(f"[{i}]" for i in range(n_vocab - 256))])}
    tokenizer = Tokenizer(BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    [type_name] = sys.argv[1:] or ["Q4_0"]
    print(write_air(cache_folder() / "bench" / f"air-{type_name}-3.gguf", type_name))
