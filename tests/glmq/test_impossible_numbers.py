"""Numbers of a file that cannot be are refused in one line that names them, as are results that are none."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.sampling import Sampling
from glmq.session import NotFinite

from .gguf_edits import read_parts
from .small_models import write_deepseek2, write_glm4moe, write_llama


@pytest.fixture(scope="module")
def glm(tmp_path_factory):
    path = tmp_path_factory.mktemp("glm") / "model.gguf"
    return read_parts(write_glm4moe(path, change=in_two_groups))


def in_two_groups(model):
    model.writer.add_expert_group_count(2)
    model.writer.add_expert_group_used_count(1)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return read_parts(write_llama(tmp_path_factory.mktemp("llama") / "model.gguf"))


def refusal(parts, path, **options):
    path.write_bytes(parts.to_bytes())
    with pytest.raises(GlmqError) as found:
        glmq.load(path, **options)
    message = str(found.value)
    assert "\n" not in message
    return message


OF_BOTH = [
    ("attention.head_count", "uint32", 0, "head_count"),
    ("attention.head_count", "uint32", 3, "3 attention heads"),
    ("attention.head_count", "uint64", 1 << 63, "blk.0.attn_q.weight"),
    ("attention.head_count_kv", "uint32", 0, "head_count_kv"),
    ("attention.head_count_kv", "uint32", 3, "evenly"),
    ("attention.key_length", "uint32", 1 << 31, "length"),
    ("attention.value_length", "uint32", 128, "value_length"),
    ("attention.layer_norm_rms_epsilon", "float32", np.nan, "epsilon"),
    ("attention.layer_norm_rms_epsilon", "float32", -1, "at least 0"),
    ("block_count", "uint32", 0, "block_count"),
    ("block_count", "uint32", 1 << 31, "attn_norm.weight"),
    ("context_length", "uint32", 0, "context_length"),
    ("context_length", "float32", 512, "an integer"),
    ("embedding_length", "uint64", 1 << 63, "shape"),
    ("embedding_length", "uint32", 0, "embedding_length"),
    ("feed_forward_length", "uint32", 1 << 31, "shape"),
    ("rope.dimension_count", "uint32", 8192, "dimension_count is 8192"),
    ("rope.dimension_count", "uint32", 0, "dimension_count"),
    ("rope.dimension_count", "uint32", 31, "dimension_count"),
    ("rope.dimension_count", "uint64", 1 << 63, "dimension_count"),
    ("rope.freq_base", "float32", 0, "freq_base"),
    ("rope.freq_base", "float32", -10000, "freq_base"),
    ("rope.freq_base", "float32", np.nan, "freq_base"),
    ("rope.freq_base", "float64", 5e-324, "freq_base"),
    ("rope.scaling.factor", "float64", 5e-324, "factor"),
    ("rope.scaling.factor", "float32", -4, "factor"),
    ("rope.scaling.attn_factor", "float64", 1e308, "attn_factor"),
    ("rope.scaling.yarn_attn_factor", "float32", 0, "attn_factor"),
]


@pytest.mark.parametrize(("name", "type_name", "value", "named"), OF_BOTH)
@pytest.mark.parametrize("architecture", ("glm4moe", "llama"))
def test_a_size_that_does_not_fit(request, tmp_path, architecture, name, type_name, value, named):
    parts = request.getfixturevalue(architecture.removesuffix("4moe")).copy()
    parts.set_number(f"{architecture}.{name}", type_name, value)
    assert named in refusal(parts, tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("name", "type_name", "value", "named"),
    [
        ("expert_count", "uint32", 0, "experts"),
        ("expert_count", "uint32", 1 << 31, "ffn_down_exps.weight"),
        ("expert_used_count", "uint32", 0, "0 of 8"),
        ("expert_used_count", "uint32", 9, "9 of 8"),
        ("expert_used_count", "uint32", 5, "fewer than the 5"),
        ("expert_group_count", "uint32", 3, "3 groups"),
        ("expert_group_count", "uint32", 8, "fewer than the 3"),
        ("expert_group_used_count", "uint32", 3, "groups"),
        ("expert_feed_forward_length", "uint32", 1 << 31, "shape"),
        ("expert_shared_count", "uint32", 1 << 31, "shape"),
        ("expert_weights_scale", "float32", np.nan, "expert_weights_scale"),
        ("leading_dense_block_count", "uint64", 1 << 63, "missing"),
        ("leading_dense_block_count", "int32", -1, "leading_dense_block_count"),
    ],
)
def test_numbers_of_experts(tmp_path, glm, name, type_name, value, named):
    parts = glm.copy()
    parts.set_number(f"glm4moe.{name}", type_name, value)
    assert named in refusal(parts, tmp_path / "model.gguf")


@pytest.fixture(scope="module")
def flash(tmp_path_factory):
    return read_parts(write_deepseek2(tmp_path_factory.mktemp("flash") / "model.gguf"))


@pytest.mark.parametrize(
    ("name", "type_name", "value", "named"),
    [
        ("attention.head_count", "uint32", 0, "head_count"),
        ("attention.head_count", "uint64", 1 << 63, "shape"),
        ("attention.kv_lora_rank", "uint32", 0, "kv_lora_rank"),
        ("attention.kv_lora_rank", "uint32", 1 << 31, "attn_kv_a_mqa.weight"),
        ("attention.q_lora_rank", "uint64", 1 << 63, "attn_q_b.weight"),
        ("attention.q_lora_rank", "int32", -1, "q_lora_rank"),
        ("attention.key_length_mla", "uint32", 1 << 31, "shape"),
        ("attention.key_length_mla", "uint32", 0, "key_length_mla"),
        ("attention.value_length_mla", "uint32", 1 << 31, "shape"),
        ("attention.value_length_mla", "float32", 80.5, "value_length_mla"),
        ("rope.dimension_count", "uint32", 0, "dimension_count"),
        ("rope.dimension_count", "uint32", 24, "dimension_count 24"),
        ("rope.dimension_count", "uint32", 96, "96 cannot be rotated"),
        ("embedding_length", "uint32", 0, "embedding_length"),
        ("expert_count", "uint32", 1 << 31, "ffn_down_exps.weight"),
        ("leading_dense_block_count", "uint32", 9, "ffn_gate.weight"),
    ],
)
def test_numbers_of_latent_attention(tmp_path, flash, name, type_name, value, named):
    parts = flash.copy()
    parts.set_number(f"deepseek2.{name}", type_name, value)
    assert named in refusal(parts, tmp_path / "model.gguf")


def test_an_embedding_without_rows(tmp_path, llama):
    parts = llama.copy()
    type_number, _, data = parts.tensors["token_embd.weight"]
    parts.tensors["token_embd.weight"] = type_number, (data.size // 4,), data
    assert "token_embd.weight" in refusal(parts, tmp_path / "model.gguf")


def test_an_embedding_of_other_tokens(tmp_path, llama):
    parts = llama.copy()
    for name in ("token_embd.weight", "output.weight"):
        type_number, (rows, columns), data = parts.tensors[name]
        parts.tensors[name] = type_number, (rows - 1, columns), data[: 4 * (rows - 1) * columns]
    assert "320 tokens" in refusal(parts, tmp_path / "model.gguf")


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
@pytest.mark.parametrize(
    "name",
    ("blk.1.exp_probs_b.bias", "blk.0.attn_norm.weight", "blk.2.attn_q.bias", "output_norm.weight"),
)
def test_a_vector_that_is_not_finite(tmp_path, glm, name, value):
    parts = glm.copy()
    values = parts.floats(name)
    values[-1] = value
    parts.set_floats(name, values)
    message = refusal(parts, tmp_path / "model.gguf")
    assert name in message
    assert "download it again" in message


def test_a_context_that_does_not_fit_into_memory(tmp_path, llama):
    parts = llama.copy()
    parts.set_number("llama.context_length", "uint64", 1 << 62)
    assert "context" in refusal(parts, tmp_path / "model.gguf", n_ctx=1 << 61)
    with glmq.load(tmp_path / "model.gguf") as model:
        session = model.session(n_ctx=1 << 61)
        session.evaluate([1, 2, 3])
        assert model.kv_cache.n_used == 1, "memory is taken as a sequence grows"


@pytest.fixture(scope="module")
def with_nan(tmp_path_factory, llama):
    """A model one of whose logits is NaN."""
    parts = llama.copy()
    values = parts.floats("output.weight")
    values[7, 0] = np.nan
    parts.set_floats("output.weight", values)
    path = tmp_path_factory.mktemp("nan") / "model.gguf"
    path.write_bytes(parts.to_bytes())
    with glmq.load(path, n_ctx=64) as model:
        yield model


WAYS = {
    "logits": lambda model: model.logits([1, 2, 3]),
    "evaluate": lambda model: model.session().evaluate([1]),
    "generate": lambda model: model.generate("ab", max_tokens=3).run(),
    "greedy": lambda model: model.generate("ab", sampling=Sampling(temperature=0), max_tokens=3).run(),
    "chat": lambda model: list(model.chat([{"role": "user", "content": "ab"}], max_tokens=3)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_logit_that_is_not_a_number_is_an_error(with_nan, way):
    with pytest.raises(NotFinite) as found:
        WAYS[way](with_nan)
    message = str(found.value)
    assert "\n" not in message
    assert "not finite" in message
    assert "checksum" in message


def test_a_session_is_as_before_a_result_that_is_not_finite(with_nan):
    session = with_nan.session()
    with pytest.raises(NotFinite):
        session.evaluate([1, 2])
    assert session.tokens == []
