from __future__ import annotations

import pytest

from glmq.experts import placement
from glmq.forecast import memory
from glmq.memory_plan import plan_memory

from ..disk_models import expert_sizes, plan_with_experts_on_disk
from ..hub.conftest import hub  # noqa: F401 - a fixture
from .fixed_speeds import FixedSpeeds

LARGE = 10**9


@pytest.fixture
def fixed_speeds(monkeypatch):
    """Nothing is measured."""
    monkeypatch.setattr("glmq.forecast.forecast.Speeds", FixedSpeeds)
    return FixedSpeeds


@pytest.fixture
def disk_budget(monkeypatch, tmp_path):
    """Budgets of memory with which small models have experts on disk: gives one that keeps some of them."""
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path / "profiles")
    for module in (placement, memory):
        monkeypatch.setattr(module, "RESERVE", 0)
        monkeypatch.setattr(module, "INTERPRETER", 0)
        monkeypatch.setattr(module, "resident_memory", lambda: None)

    def plan(needs, budget):
        """On disk with the small budgets that are given here only."""
        given = budget is not None and budget < LARGE
        return plan_with_experts_on_disk(needs, budget) if given else plan_memory(needs, budget)

    monkeypatch.setattr("glmq.loading.plan_memory", plan)
    monkeypatch.setattr(memory, "plan_memory", plan)

    def budget(path, needs, top_k, n_kept):
        staging = max(placement.LEAST_STAGING, top_k + placement.PREFETCHED)
        # Half a slot more than need be: vectors count as dense weights but are not loaded as they are.
        slots = (staging + n_kept) * expert_sizes(path)[1] + expert_sizes(path)[1] // 2
        return needs.dense + needs.least_work + needs.kv_cache + slots

    return budget
