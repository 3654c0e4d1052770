"""GLM-4.7-Flash's architecture: the layouts of its files, what they leave unsaid, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.loading import needs_of

from . import small_models
from .small_models import write_deepseek2
from .test_command_line import run

TOKENS = np.random.default_rng(5).integers(0, 256, 40).tolist()


def logits_of(path, tokens=TOKENS, **options):
    with glmq.load(path, **options) as model:
        return model.logits(tokens)


def assert_close(actual, expected, parts):
    assert np.abs(actual - expected).max() < parts * np.ptp(expected)


@pytest.mark.parametrize("type_name", ("F32", "F16", "BF16"))
@pytest.mark.parametrize("switches", ({}, {"q_rank": 0}, {"groups": True, "n_dense": 0}), ids=str)
def test_files_from_before_keys_were_absorbed_give_the_same_logits(tmp_path, type_name, switches):
    new, old = (
        logits_of(
            write_deepseek2(tmp_path / f"{layout}.gguf", type_name, old_layout=layout == "old", **switches),
            cache_type="F32",
            activations="f32",
        )
        for layout in ("new", "old")
    )
    assert_close(old, new, 1e-6)


@pytest.mark.parametrize("type_name", ("Q8_0", "Q4_0"))
def test_older_files_of_quantized_weights(tmp_path, type_name):
    new, old = (
        logits_of(write_deepseek2(tmp_path / f"{layout}.gguf", type_name, old_layout=layout == "old"))
        for layout in ("new", "old")
    )
    # Keys were rounded before they were turned; where that decides which experts a token goes to, more.
    assert np.abs(old - new).mean() < 0.02 * np.ptp(new)


@pytest.mark.parametrize("type_name", ("F32", "Q8_0", "Q4_0"))
def test_gate_and_up_of_experts_in_one_tensor(tmp_path, type_name):
    apart = logits_of(write_deepseek2(tmp_path / "apart.gguf", type_name))
    fused = logits_of(write_deepseek2(tmp_path / "fused.gguf", type_name, fused=True))
    np.testing.assert_array_equal(fused, apart)


@pytest.mark.parametrize("cache_type", ("F32", "F16", "Q8_0"))
@pytest.mark.parametrize("sizes", ([1] * 40, [1, 2, 13, 24], [39, 1]), ids=str)
def test_batches_of_any_size_give_the_same_logits(tmp_path, sizes, cache_type):
    with glmq.load(write_deepseek2(tmp_path / "model.gguf"), cache_type=cache_type) as model:
        whole, session = model.logits(TOKENS), model.session()
        ends = np.cumsum(sizes)
        parts = [
            session.evaluate_all(TOKENS[end - size : end]) for size, end in zip(sizes, ends, strict=True)
        ]
    assert_close(np.concatenate(parts), whole, {"F32": 2e-5, "F16": 5e-4, "Q8_0": 2e-2}[cache_type])


@pytest.mark.parametrize("count", (48, 23))
def test_any_number_of_experts_runs(tmp_path, monkeypatch, count):
    """As in pruned files."""
    monkeypatch.setattr(small_models, "N_EXPERTS", count)
    assert np.isfinite(logits_of(write_deepseek2(tmp_path / "model.gguf", "Q8_0"))).all()


def test_keys_that_are_turned_count_as_memory_and_are_made_once(tmp_path, monkeypatch):
    """The program is built a second time where not all is in memory, or read instead of mapped."""
    from glmq.models import latent_weights

    made = []
    turn = latent_weights._keys_turned
    monkeypatch.setattr(latent_weights, "_keys_turned", lambda *given: made.append(1) or turn(*given))
    path = write_deepseek2(tmp_path / "old.gguf", "Q8_0", old_layout=True)
    with glmq.load(path, load="read") as model:
        needs = needs_of(model.file, model._program, model.n_ctx)
        per_layer = small_models.N_HEADS * small_models.KV_RANK * small_models.LATENT_NOPE * 2
        assert needs.weights == model.file.n_bytes + small_models.N_LAYERS * per_layer
    assert len(made) == small_models.N_LAYERS


def without_gating(model):
    model.writer.kv_data[0].pop("deepseek2.expert_gating_func")


def by_softmax(model):
    model.set("deepseek2.expert_gating_func", 1)


def without_corrections(model):
    by_softmax(model)
    for tensors in model.writer.tensors:
        for name in [name for name in tensors if "exp_probs_b" in name]:
            del tensors[name]


@pytest.mark.parametrize(
    ("change", "said"), [(without_gating, "does not say"), (by_softmax, "says that softmax")]
)
def test_files_that_hide_how_experts_are_chosen(tmp_path, change, said):
    """Those from before 21 January 2026 choose by sigmoid too, and that is said."""
    expected = logits_of(write_deepseek2(tmp_path / "sound.gguf", "Q8_0"))
    path = write_deepseek2(tmp_path / "early.gguf", "Q8_0", change=change)
    with glmq.load(path) as model:
        np.testing.assert_array_equal(model.logits(TOKENS), expected)
        [remark] = model.remarks
    assert said in remark
    assert "early.gguf" in remark
    code, _, err = run("generate", path, "-p", "a", "-n", "1")
    assert code == 0
    assert err.splitlines().count(remark) == 1


def test_a_sound_file_needs_no_remark(tmp_path):
    with glmq.load(write_deepseek2(tmp_path / "model.gguf", "Q8_0")) as model:
        assert model.remarks == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (without_corrections, "expert_gating_func 1"),
        (lambda model: model.set("deepseek2.expert_gating_func", 3), "expert_gating_func 3"),
        (lambda model: model.set("deepseek2.attention.kv_lora_rank", 24), "kv_lora_rank 24"),
        (lambda model: model.set("deepseek2.attention.key_length_mla", 32), "32 cannot be rotated"),
        (lambda model: model.set("deepseek2.attention.value_length_mla", 48), "shape"),
        (lambda model: model.set("deepseek2.attention.q_lora_rank", 0), "attn_q.weight"),
        (lambda model: model.set("deepseek2.attention.indexer.top_k", 2048), "indexer.top_k is 2048"),
    ],
)
def test_refusals(tmp_path, change, named):
    with pytest.raises(GlmqError) as found:
        glmq.load(write_deepseek2(tmp_path / "model.gguf", "Q8_0", change=change))
    assert named in str(found.value)
    assert "\n" not in str(found.value)
