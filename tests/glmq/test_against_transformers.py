"""Logits of converted checkpoints are those of Hugging Face transformers in float32."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_convert.conversion import convert
from glmq_kernels.jit import isa

import glmq
from glmq.gguf import open_gguf
from glmq.models.rotary import read_rotary
from glmq.rotary_angles import AngleTable
from glmq.weights import Weights

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402

N_TOKENS = 64
SMALLEST_MARGIN = 5e-4
CLOSENESS = {"F32": 2e-5, "F16": 5e-4}
"""How far logits may be off for a type of the KV cache, in parts of their range.

Found with the models here: at most 5e-7 with F32 and 1.9e-4 with F16. Q8_0 gives 2.5e-3 to 5e-3, and more
where its rounding decides which experts a token goes to.
"""


def rope(partial_factor, kind="default", **more):
    return {"rope_type": kind, "rope_theta": 1e6, "partial_rotary_factor": partial_factor, **more}


SWITCHES = {
    "as Air": {},
    "q and k norm, no bias": {"use_qk_norm": True, "attention_bias": False},
    "q and k norm and bias": {"use_qk_norm": True},
    "no dense layers": {"first_k_dense_replace": 0},
    "three dense layers": {"first_k_dense_replace": 3, "num_hidden_layers": 4},
    "tied head": {"tie_word_embeddings": True},
    "groups": {"n_group": 4, "topk_group": 2, "n_routed_experts": 16},
    "weights not normalized": {"norm_topk_prob": False},
    "scaled": {"routed_scaling_factor": 2.5},
    "not normalized, scaled": {"norm_topk_prob": False, "routed_scaling_factor": 2.5},
    "two shared experts": {"n_shared_experts": 2},
    "whole heads rotate": {"rope_parameters": rope(1.0)},
    "half of each head rotates": {"rope_parameters": rope(0.5)},
    "stretched linearly": {"rope_parameters": rope(0.5, "linear", factor=4.0)},
    "stretched by YaRN": {
        "rope_parameters": rope(0.5, "yarn", factor=4.0, original_max_position_embeddings=128)
    },
    "stretched by YaRN with an amplitude": {
        "rope_parameters": rope(
            1.0, "yarn", factor=8.0, original_max_position_embeddings=64, attention_factor=0.7, beta_fast=16.0
        )
    },
    "long heads": {"head_dim": 64, "hidden_size": 96},
    "one kv head": {"num_key_value_heads": 1},
    "kv heads as many as heads": {"num_key_value_heads": 4},
    "ten experts": {"n_routed_experts": 10},
    **{f"top {k}": {"num_experts_per_tok": k} for k in range(1, 9)},
}


def tokens_without_ties(reference):
    """Tokens for which no choice of experts is so close that rounding decides it, and their logits."""
    for seed in range(100):
        tokens = torch.randint(0, 330, (N_TOKENS,), generator=torch.Generator().manual_seed(seed))
        logits, margin = logits_and_margin(reference, tokens)
        if margin > SMALLEST_MARGIN:
            return tokens, logits
    raise AssertionError("every seed has a tie")


def logits_and_margin(reference, tokens):
    margins = [1.0]

    def note(router, inputs):
        margins.append(choice_margin(router, inputs[0], reference.config))

    routers = [module for name, module in reference.named_modules() if name.endswith("mlp.gate")]
    hooks = [router.register_forward_pre_hook(note) for router in routers]
    with torch.no_grad():
        logits = reference(tokens[None]).logits[0].numpy()
    for hook in hooks:
        hook.remove()
    return logits, min(margins)


def choice_margin(router, hidden, config):
    """How far the last chosen expert (or group) is ahead of the first not chosen, for the closest token."""
    scores = torch.sigmoid(hidden.reshape(-1, config.hidden_size) @ router.weight.T)
    choice = scores + router.e_score_correction_bias
    margin = 1.0
    if config.n_group > 1:
        grouped = choice.unflatten(-1, (config.n_group, -1))
        of_groups = grouped.topk(2).values.sum(-1)
        margin = gap(of_groups, config.topk_group)
        kept = torch.zeros_like(of_groups).scatter_(1, of_groups.topk(config.topk_group).indices, 1)
        choice = (grouped + (kept[..., None] - 1) * 100).flatten(-2)
    return min(margin, gap(choice, config.num_experts_per_tok))


def gap(values, k):
    best = values.sort(descending=True).values
    return float((best[:, k - 1] - best[:, k]).min()) if k < values.shape[1] else 1.0


@pytest.fixture(scope="module", params=SWITCHES.values(), ids=SWITCHES.keys())
def compared(request, tmp_path_factory):
    """A file of ours, tokens, transformers' logits for them, and the range of these."""
    folder = tmp_path_factory.mktemp("checkpoint")
    reference = checkpoints.save_checkpoint(folder, **request.param)
    tokens, expected = tokens_without_ties(reference)
    return convert(folder, folder / "model.gguf", "f32"), tokens.tolist(), expected, np.ptp(expected)


STRETCHED = [name for name, switch in SWITCHES.items() if name.startswith("stretched")]
FAR = np.array([0, 1, 127, 4095, 131_071, 202_751])


@pytest.mark.parametrize("name", STRETCHED)
def test_angles_of_far_positions(tmp_path, name):
    """Up to the context of GLM-4.7. transformers rounds angles to float32: by 0.016 near 202,752."""
    reference = checkpoints.save_checkpoint(tmp_path, **SWITCHES[name])
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf", "f32")) as file:
        rotary = read_rotary(file, Weights(file), reference.config.head_dim, interleaved=False)
    found = np.empty((2, len(FAR), len(rotary.frequencies)), np.float32)
    AngleTable(rotary).look_up(FAR, found[0], found[1])
    turned = reference.model.rotary_emb(torch.zeros(1), torch.from_numpy(FAR)[None])
    for ours, theirs in zip(found, turned, strict=True):
        expected = theirs[0, :, : len(rotary.frequencies)].numpy()
        np.testing.assert_allclose(ours[:4], expected[:4], atol=1e-3)
        np.testing.assert_allclose(ours, expected, atol=0.03 * rotary.amplitude)


@pytest.mark.parametrize("cache_type", CLOSENESS)
def test_logits(compared, cache_type):
    path, tokens, expected, logit_range = compared
    with glmq.load(path, cache_type=cache_type) as model:
        assert np.abs(model.logits(tokens) - expected).max() < CLOSENESS[cache_type] * logit_range


def test_logits_with_a_cache_of_eight_bits(tmp_path):
    """Without experts, whose choice its rounding may change."""
    reference = checkpoints.save_checkpoint(tmp_path, first_k_dense_replace=3, num_hidden_layers=3)
    tokens, expected = tokens_without_ties(reference)
    with glmq.load(convert(tmp_path, tmp_path / "model.gguf", "f32"), cache_type="Q8_0") as model:
        assert np.abs(model.logits(tokens.tolist()) - expected).max() < 1e-2 * np.ptp(expected)


@pytest.mark.parametrize("sizes", ([1] * 64, [1, 2, 3, 7, 11, 16, 24], [33, 31], [5] * 12 + [4]), ids=str)
def test_batches_of_any_size_give_the_same_logits(compared, sizes):
    path, tokens, _, logit_range = compared
    with glmq.load(path, cache_type="F32") as model:
        whole = model.logits(tokens)
        session = model.session()
        ends = np.cumsum(sizes)
        parts = [
            session.evaluate_all(tokens[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]
    assert np.abs(np.concatenate(parts) - whole).max() < CLOSENESS["F32"] * logit_range


def test_every_instruction_set_gives_the_logits(any_isa, tmp_path):
    reference = checkpoints.save_checkpoint(tmp_path, use_qk_norm=True)
    tokens, expected = tokens_without_ties(reference)
    with glmq.load(convert(tmp_path, tmp_path / "model.gguf", "f32"), cache_type="F32") as model:
        assert np.abs(model.logits(tokens.tolist()) - expected).max() < CLOSENESS["F32"] * np.ptp(expected)


@pytest.mark.skipif("amx" not in isa.levels(), reason="the processor has no AMX")
@pytest.mark.parametrize("any_isa", ["amx"], indirect=True)
@pytest.mark.parametrize("kind", ("bf16", "q8_0"))
def test_amx_gives_the_logits_of_a_prompt(any_isa, tmp_path, kind):
    """Of a model whose tokens go to all experts, so that rounding chooses none."""
    reference = checkpoints.save_checkpoint(tmp_path, n_routed_experts=4, num_experts_per_tok=4)
    tokens = torch.randint(0, 330, (N_TOKENS,), generator=torch.Generator().manual_seed(0))
    expected, _ = logits_and_margin(reference, tokens)
    path = convert(tmp_path, tmp_path / "model.gguf", kind)
    with glmq.load(path, cache_type="F32", activations="int8") as model:
        assert np.abs(model.logits(tokens.tolist()) - expected).max() < 1e-2 * np.ptp(expected)
