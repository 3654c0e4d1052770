"""What a model's matrices meet, against transformers in float32 and between the ways of running a model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from glmq_convert.conversion import convert

import glmq
from glmq.gguf import open_gguf
from glmq.importance.observed_model import ObservedModel

from .disk_models import load_from_disk
from .small_models import N_EXPERTS, N_LAYERS, TOP_K, write_deepseek2, write_glm4moe, write_llama

CHUNK = 40
GOLDEN = Path(__file__).parents[1] / "golden" / "imatrix.npz"
"""What llama.cpp's matrices meet (`make_imatrix_golden.py`)."""

GOLDEN_BLOCK = "blk.2."
"""The block that is kept there, the last."""


def observe(path, chunks, **options):
    """Sums of a model, float32 throughout, that reads chunks at once."""
    with ObservedModel(
        open_gguf(path), len(chunks[0]), cache_type="F32", activations="f32", **options
    ) as model:
        model.read([np.array(chunk, np.int64) for chunk in chunks])
        return model.tensor_sums()


def some_tokens(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, n)


class TransformersInputs:
    """Adds up what the matrices of a transformers model meet, under the names of GGUF."""

    NAMES = (
        ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"), ("self_attn.q_a_proj", "attn_q_a"),
        ("self_attn.q_b_proj", "attn_q_b"), ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"),
        ("mlp.gate", "ffn_gate_inp"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"), ("mlp.shared_experts.gate_proj", "ffn_gate_shexp"),
        ("mlp.shared_experts.up_proj", "ffn_up_shexp"), ("mlp.shared_experts.down_proj", "ffn_down_shexp"),
    )  # fmt: skip

    def __init__(self, reference):
        self.sums, self.counts = {}, {}
        self._config = reference.config
        for name, module in reference.named_modules():
            if found := re.fullmatch(r"model\.layers\.(\d+)\.(.*)", name):
                self._hook(f"blk.{found[1]}", found[2], module)

    def _hook(self, block, part, module):
        for theirs, ours in self.NAMES:
            if part == theirs:
                name = f"{block}.{ours}.weight"
                module.register_forward_pre_hook(
                    lambda _, x, name=name: self._add(name, 0, 1, x[0].flatten(0, -2))
                )
        if part == "mlp.experts":
            module.register_forward_pre_hook(lambda experts, x: self._add_experts(block, experts, *x[:2]))
        if part == "self_attn" and hasattr(module, "kv_lora_rank"):
            self._hook_latent(block, module)

    def _add(self, name, matrix, n_matrices, rows):
        squares = (rows.double() ** 2).sum(0).numpy()
        sums = self.sums.setdefault(name, np.zeros((n_matrices, len(squares))))
        sums[matrix] += squares
        self.counts.setdefault(name, np.zeros(n_matrices, int))[matrix] += len(rows)

    def _add_experts(self, block, experts, hidden, chosen):
        for expert in range(experts.num_experts):
            rows = hidden[(chosen == expert).any(-1)]
            gate, up = (rows @ experts.gate_up_proj[expert].T).chunk(2, -1)
            inner = experts.act_fn(gate) * up
            for name, met in (("gate", rows), ("up", rows), ("down", inner)):
                self._add(f"{block}.ffn_{name}_exps.weight", expert, experts.num_experts, met)

    def _hook_latent(self, block, attention):
        """Queries before they meet the keys' matrices, and sums of latent rows before the values'."""
        seen = {}
        heads, nope = attention.num_heads, attention.qk_nope_head_dim
        queries = attention.q_proj if attention.q_lora_rank is None else attention.q_b_proj
        queries.register_forward_hook(lambda _, x, out: seen.update(q=out))
        attention.kv_a_layernorm.register_forward_hook(lambda _, x, out: seen.update(c=out))

        def add(_, x, out):
            q = seen["q"][0].unflatten(-1, (heads, -1))[..., :nope]
            attended = out[1][0] @ seen["c"][0]
            for head in range(heads):
                self._add(f"{block}.attn_k_b.weight", head, heads, q[:, head])
                self._add(f"{block}.attn_v_b.weight", head, heads, attended[head])

        attention.register_forward_hook(add)


@pytest.mark.parametrize(
    ("kind", "switches"),
    [
        ("glm4_moe", {}),
        ("glm4_moe_lite", {}),
        pytest.param(
            "glm4_moe",
            {"first_k_dense_replace": 0, "use_qk_norm": True, "n_shared_experts": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param("glm4_moe_lite", {"q_lora_rank": None}, marks=pytest.mark.slow),
    ],
)
def test_sums_are_those_of_transformers(tmp_path, kind, switches):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests import glm4_moe_checkpoints as checkpoints

    from .test_against_transformers import tokens_without_ties

    reference = checkpoints.save_checkpoint(tmp_path, kind=kind, **switches)
    reference.set_attn_implementation("eager")
    tokens, _ = tokens_without_ties(reference)
    expected = TransformersInputs(reference)
    with torch.no_grad():
        reference(tokens[None])
    found = observe(convert(tmp_path, tmp_path / "model.gguf", "f32"), [tokens.tolist()])
    assert set(found) == set(expected.sums)
    for name, sums in found.items():
        of_heads = name.endswith(("attn_k_b.weight", "attn_v_b.weight"))
        counts = expected.counts[name][:1] if of_heads else expected.counts[name]
        assert sums.counts.tolist() == counts.tolist(), name
        shape = (1, -1) if of_heads else expected.sums[name].shape
        scale = expected.sums[name].max()
        np.testing.assert_allclose(
            sums.sums, expected.sums[name].reshape(shape), rtol=2e-4, atol=1e-6 * scale, err_msg=name
        )


@pytest.mark.parametrize(("kind", "write"), [("glm4moe", write_glm4moe), ("deepseek2", write_deepseek2)])
def test_sums_are_those_of_llama_cpp(tmp_path, kind, write):
    found = observe(write(tmp_path / "model.gguf"), [some_tokens(64)])
    golden = np.load(GOLDEN)
    names = {key.split()[1] for key in golden.files if key.startswith(f"{kind} ")}
    assert names == {name for name in found if name.startswith(GOLDEN_BLOCK)}
    for name in names:
        sums, counts = (golden[f"{kind} {name} {what}"] for what in ("sums", "counts"))
        if name.endswith(("attn_k_b.weight", "attn_v_b.weight")):
            sums, counts = sums.reshape(1, -1), counts[:1]
        assert found[name].counts.tolist() == counts.tolist(), name
        np.testing.assert_allclose(found[name].sums, sums, 1e-3, 1e-5 * sums.max(), err_msg=name)


def assert_same(found, expected, rtol=0.0):
    assert set(found) == set(expected)
    for name, sums in found.items():
        np.testing.assert_array_equal(sums.counts, expected[name].counts, name)
        np.testing.assert_allclose(sums.sums, expected[name].sums, rtol, err_msg=name)


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A path, two chunks, and what the model's matrices meet of them."""
    path = write_glm4moe(tmp_path_factory.mktemp("observed") / "model.gguf", "Q8_0")
    chunks = [some_tokens(CHUNK, seed) for seed in (0, 1)]
    return path, chunks, observe(path, chunks)


def test_every_matrix_of_every_block_is_there(observed):
    path, _, sums = observed
    with open_gguf(path) as file:
        matrices = {
            name
            for name, info in file.tensors.items()
            if name.startswith("blk.") and name.endswith(".weight") and len(info.shape) > 1
        }
    assert set(sums) == matrices
    for layer in range(1, N_LAYERS):
        assert sums[f"blk.{layer}.ffn_down_exps.weight"].counts.sum() == 2 * CHUNK * TOP_K
        assert len(sums[f"blk.{layer}.ffn_down_exps.weight"].counts) == N_EXPERTS


def test_chunks_know_nothing_of_each_other(observed):
    path, chunks, together = observed
    apart = [observe(path, [chunk]) for chunk in chunks]
    assert set(together) == set(apart[0])
    for name, sums in together.items():
        np.testing.assert_allclose(sums.sums, sum(each[name].sums for each in apart), rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(sums.counts, sum(each[name].counts for each in apart))


def test_the_number_of_threads_changes_nothing(observed):
    path, chunks, sums = observed
    assert_same(observe(path, chunks, n_threads=1), sums)


@pytest.mark.parametrize("n_slots", (0, 5))
def test_experts_on_disk_change_nothing(monkeypatch, observed, n_slots):
    path, chunks, sums = observed

    def load(path, **options):
        return ObservedModel(open_gguf(path), CHUNK, cache_type="F32", activations="f32", **options)

    with load_from_disk(monkeypatch, path, n_slots, load) as model:
        assert model.n_at_once > 1
        model.read(chunks)
        assert model.experts.statistics.misses
        assert_same(model.tensor_sums(), sums)


def test_a_chunk_may_be_longer_than_a_batch(tmp_path):
    path = write_llama(tmp_path / "model.gguf")
    tokens = some_tokens(100)
    whole = observe(path, [tokens])
    with ObservedModel(open_gguf(path), 100, cache_type="F32", activations="f32") as model:
        model._engine.scheduler.max_tokens = 32
        model.read([tokens])
        assert_same(model.tensor_sums(), whole, 1e-4)


def test_the_head_counts_when_it_is_asked_for(observed):
    path, chunks, sums = observed
    with_head = observe(path, chunks, process_output=True)
    head = with_head.pop("output.weight")
    assert_same(with_head, sums)
    assert head.counts.tolist() == [2 * CHUNK]
    assert (head.sums > 0).all()


def test_what_a_batch_left_that_did_not_end_is_forgotten(monkeypatch, observed):
    path, chunks, sums = observed
    with ObservedModel(open_gguf(path), CHUNK, cache_type="F32", activations="f32") as model:
        run = model._program.run

        def interrupted(*arguments):
            run(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(model._program, "run", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.read(chunks)
        model.read(chunks)
        assert_same(model.tensor_sums(), sums)
        assert model.kv_cache.n_used == 0


def test_numbers_that_are_none_are_told(tmp_path):
    def spoil(model):
        model.floats("blk.1.attn_norm.weight", 256, deviation=0, mean=3e38)

    path = write_glm4moe(tmp_path / "model.gguf")
    data = bytearray(path.read_bytes())
    with open_gguf(path) as file:
        at = file.tensor("blk.1.ffn_down_shexp.weight").offset
    data[at : at + 4000] = b"\xff" * 4000
    path.write_bytes(data)
    with pytest.raises(glmq.GlmqError, match=r"what blk\.\d\.\S+ meets is not finite .*damaged"):
        observe(path, [some_tokens(CHUNK)])


def test_keys_and_values_in_one_tensor_are_not_observed(tmp_path):
    path = write_deepseek2(tmp_path / "old.gguf", old_layout=True)
    assert not any("_b.weight" in name and "q_b" not in name for name in observe(path, [some_tokens(CHUNK)]))


def test_fused_gate_and_up_are_one_tensor(tmp_path):
    sums = observe(write_deepseek2(tmp_path / "fused.gguf", fused=True), [some_tokens(CHUNK)])
    assert sums["blk.1.ffn_gate_up_exps.weight"].counts.sum() == CHUNK * TOP_K
