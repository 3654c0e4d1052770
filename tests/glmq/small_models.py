"""Small models with random weights of every tensor type, as GGUF files; the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from ..kernels.blocks import weights_of_deviation
from .vocabulary_files import GLM_SPECIAL

N_VOCAB = 320
HIDDEN, EXPERT_WIDTH, DENSE_WIDTH = 256, 256, 512
N_HEADS, N_KV_HEADS, HEAD_DIM = 4, 2, 64
N_EXPERTS, TOP_K, N_LAYERS = 8, 3, 3
KV_RANK, LATENT_NOPE, LATENT_ROPE, LATENT_VALUE = 64, 48, 32, 64
"""Of latent attention. Blocks of 32 do not divide what of a head's keys is not rotated."""
TAGS = tuple(f"<{end}{name}>" for name in ("think", "tool_call", "arg_key", "arg_value") for end in ("", "/"))
"""Each a token of its own in real GLM models; in small ones too where they chat."""
QUANTIZED_BY_GGUF = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4")


class SmallModel:
    """Collects a model's metadata and tensors."""

    def __init__(
        self,
        path: Path,
        architecture: str,
        type_name: str,
        seed: int,
        tags: Sequence[str] = (),
        tensors_per_file: int = 0,
    ) -> None:
        self.writer = gguf.GGUFWriter(path, architecture, split_max_tensors=tensors_per_file)
        self._type_name = type_name
        self._rng = np.random.default_rng(seed)
        self._add_vocabulary(tags)

    def matrix(self, name: str, *shape: int, scale: float = 1.0) -> None:
        """Random weights of the model's type, of a size that keeps activations near 1.

        Rows that do not divide into blocks of 256 are Q8_0.
        """
        columns, rows = shape[-1], int(np.prod(shape[:-1]))
        deviation = scale * columns**-0.5
        if self._type_name not in QUANTIZED_BY_GGUF and columns % 256:
            return self.matrix_of(name, self.numbers(*shape))
        kind = gguf.GGMLQuantizationType[self._type_name]
        if self._type_name not in QUANTIZED_BY_GGUF:
            data = weights_of_deviation(self._rng, rows, columns, self._type_name, deviation)
        else:
            floats = self._rng.standard_normal((rows, columns), np.float32) * np.float32(deviation)
            data = gguf.quants.quantize(floats, kind).view(np.uint8)
        self.writer.add_tensor(name, data.reshape(*shape[:-1], -1), raw_dtype=kind)

    def numbers(self, *shape: int) -> np.ndarray:
        """Random float32 weights for `matrix_of`."""
        return self._rng.standard_normal(shape, np.float32) * np.float32(shape[-1] ** -0.5)

    def matrix_of(self, name: str, values: np.ndarray) -> None:
        """Weights of the model's type, or near it, with values of one's own."""
        type_name = self._type_name if self._type_name in QUANTIZED_BY_GGUF else "Q8_0"
        if values.shape[-1] % gguf.constants.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[type_name]][0]:
            type_name = "F16"
        kind = gguf.GGMLQuantizationType[type_name]
        data = gguf.quants.quantize(np.ascontiguousarray(values), kind).view(np.uint8)
        self.writer.add_tensor(name, data, raw_dtype=kind)

    def floats(self, name: str, *shape: int, deviation: float, mean: float = 0.0) -> None:
        """Random float32 weights."""
        values = mean + deviation * self._rng.standard_normal(shape, np.float32)
        self.writer.add_tensor(name, values.astype(np.float32))

    def norm(self, name: str, width: int = 0) -> None:
        """A norm's weights, HIDDEN of them by default."""
        self.floats(name, width or HIDDEN, deviation=0.1, mean=1.0)

    def set(self, key: str, value: Any) -> None:
        """Give a metadata key another value, or add it."""
        self.writer.kv_data[0].pop(key, None)
        if isinstance(value, bool):
            self.writer.add_bool(key, value)
        elif isinstance(value, int):
            (self.writer.add_uint32 if 0 <= value < 1 << 32 else self.writer.add_int64)(key, value)
        elif isinstance(value, float):
            self.writer.add_float32(key, value)
        elif isinstance(value, str):
            self.writer.add_string(key, value)
        else:
            self.writer.add_array(key, value)

    def finish(self) -> None:
        """Write the file."""
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()

    def _add_vocabulary(self, tags: Sequence[str]) -> None:
        from glmq.tokenizer.byte_pairs import byte_characters

        tokens = [*byte_characters(), "ab", *tags]
        tokens += [f"[PAD{i}]" for i in range(N_VOCAB - len(tokens) - len(GLM_SPECIAL))]
        first = len(tokens)
        self.writer.add_tokenizer_model("gpt2")
        self.writer.add_tokenizer_pre("glm4")
        self.writer.add_token_list([*tokens, *GLM_SPECIAL])
        n_unused = first - 257 - len(tags)
        types = [1] * 257 + [4] * len(tags) + [5] * n_unused + [3] * len(GLM_SPECIAL)
        self.writer.add_token_types(types)
        self.writer.add_token_merges(["a b"])
        self.writer.add_eos_token_id(first)
        self.writer.add_bos_token_id(first + 1)


def write_glm4moe(
    path: Path,
    type_name: str = "F32",
    *,
    qk_norm: bool = False,
    seed: int = 0,
    name: str = "",
    n_ctx: int = 512,
    chat_template: str = "",
    tensors_per_file: int = 0,
    change: Callable[[SmallModel], None] = lambda model: None,
) -> Path:
    """A `glm4moe` model: a dense layer, then layers of experts.

    name: of the model, such as "GLM-4.7", which decides how a chat with it is written. A model that has one
    also has the tokens of such a chat. change: may add to the model before it is written.

    tensors_per_file: makes it a split one, of several files with names of their own.

    The experts' part is small, so that a choice between two that rounding decides changes little.
    """
    model = SmallModel(path, "glm4moe", type_name, seed, TAGS if name else (), tensors_per_file)
    writer = model.writer
    if name:
        writer.add_name(name)
    if chat_template:
        writer.add_chat_template(chat_template)
    _add_sizes(writer, N_LAYERS, n_ctx)
    _add_expert_sizes(writer, 1.5, 1)
    model.matrix("token_embd.weight", N_VOCAB, HIDDEN, scale=HIDDEN**0.5)
    for i in range(N_LAYERS):
        block = f"blk.{i}."
        _add_attention(model, block, bias=not qk_norm, qk_norm=qk_norm)
        model.norm(f"{block}post_attention_norm.weight")
        if i == 0:
            _add_feed_forward(model, block, "", DENSE_WIDTH)
            continue
        _add_experts(model, block)
    _add_head(model)
    change(model)
    model.finish()
    return path


def write_deepseek2(
    path: Path,
    type_name: str = "F32",
    *,
    q_rank: int = 64,
    groups: bool = False,
    n_dense: int = 1,
    old_layout: bool = False,
    fused: bool = False,
    seed: int = 0,
    name: str = "",
    n_ctx: int = 512,
    change: Callable[[SmallModel], None] = lambda model: None,
) -> Path:
    """A `deepseek2` model as GLM-4.7-Flash is one: latent attention, a dense layer, layers of experts.

    q_rank: of compressed queries, 0 where they are not. old_layout: keys and values of all heads in one
    matrix, as files had it before keys were absorbed. fused: gate and up of experts in one tensor.
    name, change: as of `write_glm4moe`. All numbers but those of the layout are the same for one seed.
    """
    model = SmallModel(path, "deepseek2", type_name, seed, TAGS if name else ())
    if name:
        model.writer.add_name(name)
    _add_latent_sizes(model.writer, n_ctx, q_rank, n_dense, groups, old_layout)
    model.matrix("token_embd.weight", N_VOCAB, HIDDEN, scale=HIDDEN**0.5)
    for i in range(N_LAYERS):
        block = f"blk.{i}."
        _add_latent_attention(model, block, q_rank, old_layout)
        model.norm(f"{block}ffn_norm.weight")
        if i < n_dense:
            _add_feed_forward(model, block, "", DENSE_WIDTH)
        else:
            _add_experts(model, block, fused)
    _add_head(model)
    change(model)
    model.finish()
    return path


def write_llama(
    path: Path,
    type_name: str = "F32",
    *,
    seed: int = 0,
    n_layers: int = 2,
    change: Callable[[SmallModel], None] = lambda model: None,
) -> Path:
    """A dense `llama` model. `change` may add to it before it is written, as in `write_glm4moe`."""
    model = SmallModel(path, "llama", type_name, seed)
    _add_sizes(model.writer, n_layers, 512)
    model.matrix("token_embd.weight", N_VOCAB, HIDDEN, scale=HIDDEN**0.5)
    for i in range(n_layers):
        _add_attention(model, f"blk.{i}.", bias=False, qk_norm=False)
        model.norm(f"blk.{i}.ffn_norm.weight")
        _add_feed_forward(model, f"blk.{i}.", "", DENSE_WIDTH)
    _add_head(model)
    change(model)
    model.finish()
    return path


def add_prediction(model: SmallModel, *, own_tables: bool = False, block: int = N_LAYERS) -> None:
    """A layer of multi-token prediction behind those of a model, for `change` of its `write_…`.

    own_tables: with an embedding and a head of its own. block: its number.
    """
    architecture, prefix = model.writer.arch, f"blk.{block}."
    model.set(f"{architecture}.block_count", block + 1)
    model.set(f"{architecture}.nextn_predict_layers", 1)
    if architecture == "glm4moe":
        _add_attention(model, prefix, bias=True, qk_norm=True)
        model.norm(f"{prefix}post_attention_norm.weight")
    else:
        _add_latent_attention(model, prefix, q_rank=64, old_layout=False)
        model.norm(f"{prefix}ffn_norm.weight")
    _add_experts(model, prefix)
    for name in ("enorm", "hnorm", "shared_head_norm"):
        model.norm(f"{prefix}nextn.{name}.weight")
    model.matrix(f"{prefix}nextn.eh_proj.weight", HIDDEN, 2 * HIDDEN)
    if own_tables:
        model.matrix(f"{prefix}nextn.embed_tokens.weight", N_VOCAB, HIDDEN, scale=HIDDEN**0.5)
        model.matrix(f"{prefix}nextn.shared_head_head.weight", N_VOCAB, HIDDEN)


def add_prediction_alone(model: SmallModel, *, own_tables: bool = False, block: int = N_LAYERS) -> None:
    """The same, and the file then holds nothing else but what both share."""
    add_prediction(model, own_tables=own_tables, block=block)
    for tensors in model.writer.tensors:
        for name in [
            name for name in tensors if name.startswith(tuple(f"blk.{i}." for i in range(N_LAYERS)))
        ]:
            del tensors[name]


def _add_sizes(writer: gguf.GGUFWriter, n_layers: int, n_ctx: int) -> None:
    writer.add_block_count(n_layers)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(DENSE_WIDTH)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_dimension_count(HEAD_DIM // 2 if writer.arch == "glm4moe" else HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(N_VOCAB)


def _add_latent_sizes(
    writer: gguf.GGUFWriter, n_ctx: int, q_rank: int, n_dense: int, groups: bool, old_layout: bool
) -> None:
    """The metadata of latent attention and experts, as llama.cpp's conversion writes it."""
    writer.add_block_count(N_LAYERS)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(DENSE_WIDTH)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS if old_layout else 1)
    writer.add_rope_freq_base(1e6)
    writer.add_rope_dimension_count(LATENT_ROPE)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(N_VOCAB)
    if q_rank:
        writer.add_q_lora_rank(q_rank)
    writer.add_kv_lora_rank(KV_RANK)
    if old_layout:
        writer.add_key_length(LATENT_NOPE + LATENT_ROPE)
        writer.add_value_length(LATENT_VALUE)
    else:
        writer.add_key_length(KV_RANK + LATENT_ROPE)
        writer.add_value_length(KV_RANK)
        writer.add_key_length_mla(LATENT_NOPE + LATENT_ROPE)
        writer.add_value_length_mla(LATENT_VALUE)
    writer.add_expert_group_count(4 if groups else 1)
    writer.add_expert_group_used_count(2 if groups else 1)
    _add_expert_sizes(writer, 1.8, n_dense)


def _add_latent_attention(model: SmallModel, block: str, q_rank: int, old_layout: bool) -> None:
    model.norm(f"{block}attn_norm.weight")
    size = N_HEADS * (LATENT_NOPE + LATENT_ROPE)
    if q_rank:
        model.matrix(f"{block}attn_q_a.weight", q_rank, HIDDEN)
        model.norm(f"{block}attn_q_a_norm.weight", q_rank)
        model.matrix(f"{block}attn_q_b.weight", size, q_rank)
    else:
        model.matrix(f"{block}attn_q.weight", size, HIDDEN)
    model.matrix(f"{block}attn_kv_a_mqa.weight", KV_RANK + LATENT_ROPE, HIDDEN)
    model.norm(f"{block}attn_kv_a_norm.weight", KV_RANK)
    both = model.numbers(N_HEADS, LATENT_NOPE + LATENT_VALUE, KV_RANK)
    if old_layout:
        model.matrix_of(f"{block}attn_kv_b.weight", both.reshape(-1, KV_RANK))
    else:
        model.matrix_of(f"{block}attn_k_b.weight", both[:, :LATENT_NOPE].transpose(0, 2, 1))
        model.matrix_of(f"{block}attn_v_b.weight", both[:, LATENT_NOPE:])
    model.matrix(f"{block}attn_output.weight", HIDDEN, N_HEADS * LATENT_VALUE)


def _add_expert_sizes(writer: gguf.GGUFWriter, scale: float, n_dense: int) -> None:
    writer.add_expert_count(N_EXPERTS)
    writer.add_expert_used_count(TOP_K)
    writer.add_expert_shared_count(1)
    writer.add_expert_feed_forward_length(EXPERT_WIDTH)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_expert_weights_scale(scale)
    writer.add_expert_weights_norm(True)
    writer.add_leading_dense_block_count(n_dense)


def _add_experts(model: SmallModel, block: str, fused: bool = False) -> None:
    """Router, experts and a shared expert. fused: gate and up in one tensor, of the same numbers."""
    model.floats(f"{block}ffn_gate_inp.weight", N_EXPERTS, HIDDEN, deviation=2 * HIDDEN**-0.5)
    model.floats(f"{block}exp_probs_b.bias", N_EXPERTS, deviation=0.1)
    if fused:
        halves = [model.numbers(N_EXPERTS, EXPERT_WIDTH, HIDDEN) for _ in range(2)]
        model.matrix_of(f"{block}ffn_gate_up_exps.weight", np.concatenate(halves, axis=1))
    else:
        for part in ("gate", "up"):
            model.matrix(f"{block}ffn_{part}_exps.weight", N_EXPERTS, EXPERT_WIDTH, HIDDEN)
    model.matrix(f"{block}ffn_down_exps.weight", N_EXPERTS, HIDDEN, EXPERT_WIDTH, scale=0.3)
    _add_feed_forward(model, block, "_shexp", EXPERT_WIDTH)


def _add_attention(model: SmallModel, block: str, *, bias: bool, qk_norm: bool) -> None:
    model.norm(f"{block}attn_norm.weight")
    for part, n_heads in (("q", N_HEADS), ("k", N_KV_HEADS), ("v", N_KV_HEADS)):
        model.matrix(f"{block}attn_{part}.weight", n_heads * HEAD_DIM, HIDDEN)
        if bias:
            model.floats(f"{block}attn_{part}.bias", n_heads * HEAD_DIM, deviation=0.2)
        if qk_norm and part != "v":
            model.norm(f"{block}attn_{part}_norm.weight", HEAD_DIM)
    model.matrix(f"{block}attn_output.weight", HIDDEN, N_HEADS * HEAD_DIM)


def _add_feed_forward(model: SmallModel, block: str, suffix: str, width: int) -> None:
    model.matrix(f"{block}ffn_gate{suffix}.weight", width, HIDDEN)
    model.matrix(f"{block}ffn_up{suffix}.weight", width, HIDDEN)
    model.matrix(f"{block}ffn_down{suffix}.weight", HIDDEN, width)


def _add_head(model: SmallModel) -> None:
    model.norm("output_norm.weight")
    model.matrix("output.weight", N_VOCAB, HIDDEN)
