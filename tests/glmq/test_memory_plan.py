"""How much memory there is, and what it is used for."""

from __future__ import annotations

from pathlib import Path

import pytest

import glmq
from glmq import memory_plan, system_memory
from glmq.gguf import open_gguf
from glmq.memory_plan import Needs, parse_size, plan_memory
from glmq.models import build_function
from glmq.weights import Weights

from .small_models import write_glm4moe

GROUPS = {
    "unified": ("0::/outer/inner\n", "", "memory.max", "memory.current", "file"),
    "one of many": (
        "4:memory:/outer/inner\n2:cpu:/\n", "memory",
        "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache",
    ),
}  # fmt: skip


def needs(experts, kv_cache=100, n_ctx=1000):
    """Of a model with 1000 bytes of dense weights."""
    work = {512: 50, 1024: 600, 2048: 1000}
    return Needs(Path("a.gguf"), 1000 + experts, experts, kv_cache, work, n_ctx)


@pytest.mark.parametrize(
    ("text", "size"),
    [("12G", 12e9), ("12.5gb", 12.5e9), (" 800M ", 800e6), ("2GiB", 2**31), ("1T", 1e12), ("5000", 5000)],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1G", "12 G B", "1e9", "G", "12X", "9" * 400])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(glmq.GlmqError, match="is not an amount of memory"):
        parse_size(text)


@pytest.mark.parametrize(("budget", "in_memory"), [(6150, True), (6149, False), (1150, False)])
def test_a_model_is_in_memory_where_all_of_it_fits(budget, in_memory):
    assert plan_memory(needs(5000), budget).in_memory == in_memory


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(glmq.GlmqError, match=r"a\.gguf needs .* but there are .*; give it"):
        plan_memory(needs(5000), 1000)
    with pytest.raises(glmq.GlmqError, match="choose a context of 512 or less"):
        plan_memory(needs(5000, kv_cache=1000), 1000 + 50 + 600)


def test_what_a_draft_model_takes_is_told_and_counted():
    both = Needs(Path("a.gguf"), 10**9, 0, 10**6, {512: 10**6}, 1000, beside=5 * 10**9)
    with pytest.raises(
        glmq.GlmqError,
        match=r"are 0.5 GB beside the 5.0 GB of the model that drafts; give it 6.1G or more, .*",
    ):
        plan_memory(both, 5_500_000_000)
    assert plan_memory(both, 6_100_000_000).in_memory


@pytest.mark.parametrize(
    ("budget", "in_memory", "batch"),
    [
        (6150, True, 512),
        (6650, True, 512),  # more than a tenth
        (6750, True, 1024),
        (9999, True, 1024),
        (10_000, True, 2048),
        (5000, False, 512),
        (6140, False, 1024),
    ],
)
def test_a_tenth_of_the_memory_is_for_large_batches(budget, in_memory, batch):
    plan = plan_memory(needs(5000), budget)
    assert (plan.in_memory, plan.batch) == (in_memory, batch)
    assert plan.work == needs(5000).work[batch]


@pytest.mark.parametrize("budget", [6150, 7000, 9000, 20_000])
def test_weights_work_and_all_sequences_together_fill_a_budget(budget):
    plan = plan_memory(needs(5000), budget)
    assert 6000 + plan.work + plan.kv_cache == budget


def test_without_a_budget_half_of_what_is_left_is_for_sequences(monkeypatch):
    monkeypatch.setattr(memory_plan, "available_memory", lambda: 20_000)
    plan = plan_memory(needs(5000), None)
    assert plan.budget == 18_400
    assert plan.kv_cache == (18_400 - 6000 - plan.work) // 2


def test_one_sequence_always_has_its_context(monkeypatch):
    monkeypatch.setattr(memory_plan, "available_memory", lambda: 7000)
    plan = plan_memory(needs(5000, kv_cache=390), None)
    assert plan.in_memory and plan.kv_cache == 390
    assert plan_memory(needs(5000), 5000).kv_cache == 100


@pytest.mark.parametrize("type_name", ("Q4_0", "F16", "BF16"))
@pytest.mark.parametrize("activations", ("int8", "f32"))
def test_a_tape_counts_what_smaller_batches_need(tmp_path, type_name, activations):
    with open_gguf(write_glm4moe(tmp_path / "model.gguf", type_name)) as file:
        build = build_function(file)
        sizes = {}
        for batch in (1, 100, 512, 2048):
            tape = build(file, Weights(file), batch, 2, "F16", activations).tape
            sizes[batch] = tape.n_bytes(batch)
        scratch = tape.n_threads * tape._scratch_bytes  # is of the largest batch
        for batch, own in sizes.items():
            assert own <= tape.n_bytes(batch) <= own + scratch


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize(("inner", "outer", "left"), [("5000", "9000", 4000), ("max", "2000", 1500)])
def test_the_tightest_control_group_counts(monkeypatch, tmp_path, kind, inner, outer, left):
    line, folder, limit, usage, cache = GROUPS[kind]
    for group, most in ((tmp_path / folder / "outer" / "inner", inner), (tmp_path / folder / "outer", outer)):
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text(f"{most}\n")
        (group / usage).write_text("3000\n")
        (group / "memory.stat").write_text(f"anon 500\n{cache} {2000 if most == '5000' else 2500}\n")
    own = system_memory._lines
    monkeypatch.setattr(system_memory, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(
        system_memory,
        "_lines",
        lambda path: line.splitlines() if path == "/proc/self/cgroup" else own(path),
    )
    assert system_memory.available_memory() == left
