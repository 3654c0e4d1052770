"""How much memory there is, and what it is used for."""

from __future__ import annotations

from pathlib import Path

import pytest

import glmq
from glmq import memory_plan
from glmq.memory_plan import Needs, parse_size, plan_memory

GROUPS = {
    "unified": ("0::/outer/inner\n", "", "memory.max", "memory.current", "file"),
    "one of many": (
        "4:memory:/outer/inner\n2:cpu:/\n", "memory",
        "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache",
    ),
}  # fmt: skip


def needs(experts, kv_cache=100, n_ctx=1000):
    """Of a model with 1000 bytes of dense weights."""
    return Needs(Path("a.gguf"), 1000 + experts, experts, kv_cache, 50, n_ctx)


@pytest.mark.parametrize(
    ("text", "size"),
    [("12G", 12e9), ("12.5gb", 12.5e9), (" 800M ", 800e6), ("2GiB", 2**31), ("1T", 1e12), ("5000", 5000)],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1G", "12 G B", "1e9", "G", "12X"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(glmq.UserError, match="is not an amount of memory"):
        parse_size(text)


@pytest.mark.parametrize(("budget", "in_memory"), [(6150, True), (6149, False), (1150, False)])
def test_a_model_is_in_memory_where_all_of_it_fits(budget, in_memory):
    assert plan_memory(needs(5000), budget).in_memory == in_memory


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(glmq.UserError, match=r"a\.gguf needs .* but there are .*; give it"):
        plan_memory(needs(5000), 1000)
    with pytest.raises(glmq.UserError, match="choose a context of 512 or less"):
        plan_memory(needs(5000, kv_cache=1000), 1000 + 50 + 600)


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize(("inner", "outer", "left"), [("5000", "9000", 4000), ("max", "2000", 1500)])
def test_the_tightest_control_group_counts(monkeypatch, tmp_path, kind, inner, outer, left):
    line, folder, limit, usage, cache = GROUPS[kind]
    for group, most in ((tmp_path / folder / "outer" / "inner", inner), (tmp_path / folder / "outer", outer)):
        group.mkdir(parents=True, exist_ok=True)
        (group / limit).write_text(f"{most}\n")
        (group / usage).write_text("3000\n")
        (group / "memory.stat").write_text(f"anon 500\n{cache} {2000 if most == '5000' else 2500}\n")
    own = memory_plan._lines
    monkeypatch.setattr(memory_plan, "CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(
        memory_plan,
        "_lines",
        lambda path: line.splitlines() if path == "/proc/self/cgroup" else own(path),
    )
    assert memory_plan.available_memory() == left
