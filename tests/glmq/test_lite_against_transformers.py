"""Logits of converted checkpoints of GLM-4.7-Flash's kind are those of transformers in float32."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_convert.conversion import convert
from glmq_kernels.ops.expanded_attention import work_list

import glmq

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints

from .test_against_transformers import tokens_without_ties

CLOSENESS = {"F32": 2e-5, "F16": 2e-4}
"""How far logits may be off for a type of the KV cache, in parts of their range."""

LESS_CLOSE = {
    "not normalized, scaled": 4e-4, "tied head": 8e-4, "stretched by YaRN, scores raised": 4e-4,
    "stretched by YaRN, two scales": 4e-4,
}  # fmt: skip
"""With an F16 cache: where experts or scores amplify what it rounds, and where logits differ little."""

ROPE = {"rope_theta": 1e6}
YARN = {**ROPE, "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 64}

SWITCHES = {
    "as Flash": {},
    "queries not compressed": {"q_lora_rank": None},
    "the halves of heads rotate": {"rope_interleave": False},
    "the halves of heads rotate, queries not compressed": {"rope_interleave": False, "q_lora_rank": None},
    "long values": {"qk_nope_head_dim": 32, "v_head_dim": 64},
    "short values": {"qk_nope_head_dim": 48, "qk_rope_head_dim": 32, "v_head_dim": 16, "kv_lora_rank": 64},
    "twenty heads": {"num_attention_heads": 20, "num_key_value_heads": 20, "hidden_size": 64},
    "groups": {"n_group": 4, "topk_group": 2, "n_routed_experts": 16},
    "not normalized, scaled": {"norm_topk_prob": False, "routed_scaling_factor": 2.5},
    "no dense layers": {"mlp_layer_types": ["sparse"] * 3},
    "two dense layers": {"mlp_layer_types": ["dense", "dense", "sparse"]},
    "two shared experts": {"n_shared_experts": 2},
    "tied head": {"tie_word_embeddings": True},
    "stretched linearly": {"rope_parameters": {**ROPE, "rope_type": "linear", "factor": 4.0}},
    "stretched by YaRN, scores raised": {"rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 1.0}},
    "stretched by YaRN, two scales": {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.2}},
    "stretched by YaRN, no scales": {"rope_parameters": YARN},
}


@pytest.mark.parametrize("named", SWITCHES)
def test_logits(tmp_path, monkeypatch, named):
    reference = checkpoints.save_checkpoint(tmp_path, kind="glm4_moe_lite", **SWITCHES[named])
    found, expected = tokens_without_ties(reference)
    tokens, logit_range = found.tolist(), np.ptp(expected)
    path = convert(tmp_path, tmp_path / "model.gguf", "f32")
    for cache_type, closeness in (CLOSENESS | {"F16": LESS_CLOSE.get(named, CLOSENESS["F16"])}).items():
        with glmq.load(path, cache_type=cache_type) as model:
            ways = {"whole": model.logits(tokens)}
            for form, expands in (("absorbed", False), ("expanded", True)):
                monkeypatch.setattr(work_list, "expanded_is_cheaper", lambda *work, it=expands: it)
                ways[form] = model.logits(tokens)
            monkeypatch.undo()
            for name, sizes in (("one by one", [1] * 64), ("uneven", [1, 2, 3, 7, 11, 16, 24])):
                session, ends = model.session(), np.cumsum(sizes)
                ways[name] = np.concatenate(
                    [session.evaluate_all(tokens[end - n : end]) for n, end in zip(sizes, ends, strict=True)]
                )
        errors = {name: float(np.abs(logits - expected).max() / logit_range) for name, logits in ways.items()}
        assert max(errors.values()) < closeness, (cache_type, errors)


def test_a_cache_of_eight_bits(tmp_path):
    """Without experts, whose choice its rounding may change."""
    reference = checkpoints.save_checkpoint(tmp_path, kind="glm4_moe_lite", mlp_layer_types=["dense"] * 3)
    tokens, expected = tokens_without_ties(reference)
    with glmq.load(convert(tmp_path, tmp_path / "model.gguf", "f32"), cache_type="Q8_0") as model:
        assert np.abs(model.logits(tokens.tolist()) - expected).max() < 1e-2 * np.ptp(expected)


def test_every_instruction_set_gives_the_logits(any_isa, tmp_path):
    reference = checkpoints.save_checkpoint(tmp_path, kind="glm4_moe_lite")
    tokens, expected = tokens_without_ties(reference)
    with glmq.load(convert(tmp_path, tmp_path / "model.gguf", "f32"), cache_type="F32") as model:
        assert np.abs(model.logits(tokens.tolist()) - expected).max() < CLOSENESS["F32"] * np.ptp(expected)
