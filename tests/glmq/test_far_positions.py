"""Tokens at the end of a context of 202,752 have transformers' logits, stretched and not."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_convert.conversion import convert

import glmq
from glmq.gguf import open_gguf
from glmq.models.rotary import read_rotary
from glmq.weights import Weights

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402

CONTEXT, LAST, CHUNK = 202_752, 32, 1024
SIZES = {
    "num_hidden_layers": 1, "first_k_dense_replace": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 16, "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": CONTEXT,
}  # fmt: skip
"""One layer, whose keys and values do not hang on attention, so that transformers has them in chunks."""
LATENT_SIZES = {
    "num_hidden_layers": 1, "mlp_layer_types": ["dense"], "num_attention_heads": 2, "num_key_value_heads": 2,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16,
    "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": CONTEXT,
}  # fmt: skip
COMMON = {"rope_theta": 1e6, "partial_rotary_factor": 0.5}
ROPES = {
    "plain": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 8.0},
    "YaRN": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": CONTEXT // 8},
}
OWN_ANGLES, THEIR_ANGLES, THEIR_LATENT_ANGLES = 1e-5, 2e-4, 6e-4
"""How far logits may be off, in parts of their range, with angles in float64 and in transformers' float32.

The two are 2e-5 (plain), 3e-6 (linear) and 5e-5 (YaRN) apart themselves; with latent attention 1.3e-4 (plain)
and 3.4e-4 (YaRN).
"""


def exact_angles(path, rotary):
    """In place of the rotary embedding's `forward`: as it is, but for frequencies and angles in float64."""
    with open_gguf(path) as file:
        ours = torch.from_numpy(read_rotary(file, Weights(file), 16, interleaved=False).frequencies)
    torch.testing.assert_close(ours.float(), rotary.inv_freq, rtol=1e-6, atol=0)

    def forward(x, position_ids):
        angles = position_ids[..., None].double() * torch.cat([ours, ours])
        return [(turn(angles) * rotary.attention_scaling).float() for turn in (torch.cos, torch.sin)]

    return forward


def last_logits(reference, tokens):
    """Of the last tokens, behind keys and values of all before."""
    cache = transformers.DynamicCache(config=reference.config)
    with torch.no_grad():
        for first in range(0, CONTEXT - LAST, CHUNK):
            places = torch.arange(first, min(first + CHUNK, CONTEXT - LAST))[None]
            alone = transformers.DynamicCache(config=reference.config)
            reference.model.layers[0](
                reference.model.embed_tokens(tokens[places]), attention_mask=torch.zeros(1, 1, 1, 1),
                position_ids=places, past_key_values=alone, use_cache=True,
                position_embeddings=reference.model.rotary_emb(torch.zeros(1), places),
            )  # fmt: skip
            cache.update(alone.layers[0].keys, alone.layers[0].values, 0)
        places = torch.arange(CONTEXT - LAST, CONTEXT)[None]
        found = reference(tokens[places], position_ids=places, past_key_values=cache)
    return found.logits[0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("rope", ROPES.values(), ids=ROPES.keys())
def test_logits(tmp_path, rope):
    reference = checkpoints.save_checkpoint(tmp_path, **SIZES, rope_parameters={**COMMON, **rope})
    assert_close_at_the_end(tmp_path, reference, reference.model.layers[0].self_attn.q_proj, THEIR_ANGLES)


@pytest.mark.slow
@pytest.mark.parametrize("rope", ("plain", "YaRN"))
def test_logits_of_latent_attention(tmp_path, rope):
    rope_parameters = {"rope_theta": 1e6, **ROPES[rope]}
    reference = checkpoints.save_checkpoint(
        tmp_path, kind="glm4_moe_lite", **LATENT_SIZES, rope_parameters=rope_parameters
    )
    queries = reference.model.layers[0].self_attn.q_b_proj
    assert_close_at_the_end(tmp_path, reference, queries, THEIR_LATENT_ANGLES)


def assert_close_at_the_end(tmp_path, reference, queries, their_angles):
    with torch.no_grad():  # so that a few of so many positions matter
        queries.weight *= 6
    reference.save_pretrained(tmp_path)
    tokens = torch.randint(0, 330, (CONTEXT,), generator=torch.Generator().manual_seed(1))
    theirs, rotary = last_logits(reference, tokens), reference.model.rotary_emb
    path = convert(tmp_path, tmp_path / "model.gguf", "f32")
    rotary.forward = exact_angles(path, rotary)
    exact = last_logits(reference, tokens)
    with glmq.load(path, cache_type="F32", n_ctx=CONTEXT) as model:
        session = model.session()
        session.evaluate(tokens[:-LAST].tolist())
        found = session.evaluate_all(tokens[-LAST:].tolist())
    for expected, closeness in ((exact, OWN_ANGLES), (theirs, their_angles)):
        assert np.abs(found - expected).max() < closeness * np.ptp(expected)
