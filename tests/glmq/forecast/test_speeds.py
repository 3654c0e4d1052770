"""Speeds of this machine are measured once and kept."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from glmq_kernels.ops.attention.cache_layout import CacheShape
from hypothesis import given
from hypothesis import strategies as st

from glmq.experts.profile import profile_path, save_profile
from glmq.forecast import measuring, speeds
from glmq.forecast.disk_speed import disk_speed, folder_speed
from glmq.forecast.figures import AttentionSpeed, DiskSpeed
from glmq.forecast.memory import forecast_memory
from glmq.forecast.routing import ENOUGH_USES, hit_rates
from glmq.forecast.speeds import Speeds
from glmq.forecast.timing import Cost, _range
from glmq.gguf import open_gguf
from glmq.model_settings import model_settings

from ..small_models import TOP_K

SHAPE = CacheShape(2, 2, 64, 64)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Counts what is measured, and keeps it in a folder of its own."""
    monkeypatch.setattr(speeds, "cache_folder", lambda: tmp_path)
    found = []

    def attention_speed(thread_pool, n_heads, shape):
        found.append(n_heads)
        return AttentionSpeed(1.0, float(len(found)))

    monkeypatch.setattr(measuring, "attention_speed", attention_speed)
    return found


def attention(n_heads=8, **options):
    with Speeds(1, **options) as kept:
        return kept.attention(n_heads, SHAPE)


def test_what_was_measured_is_kept_until_it_is_to_be_measured_again(measured):
    assert attention() == attention() == AttentionSpeed(1.0, 1.0)
    assert measured == [8]
    attention(16)
    assert attention(again=True).many == 3.0
    assert measured == [8, 16, 8]
    assert attention().many == 3.0


@pytest.mark.parametrize("what", ["__version__", "cpu_name", "package_hash"])
def test_another_machine_version_or_kernel_has_figures_of_its_own(measured, monkeypatch, what):
    attention()
    monkeypatch.setattr(speeds, what, "another" if what == "__version__" else lambda: "another")
    attention()
    assert len(measured) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"figures": {"attention": [1, 2]}}', "null"])
def test_damaged_figures_are_measured_again(measured, tmp_path, damage):
    attention()
    [path] = (tmp_path / "speeds").iterdir()
    path.write_text(damage)
    assert attention().many == 2.0


@pytest.mark.parametrize("figures", [[1.0], [1.0, "x"], [1.0, -1.0], [1.0, float("nan")], 7])
def test_impossible_figures_are_measured_again(measured, tmp_path, figures):
    attention()
    [path] = (tmp_path / "speeds").iterdir()
    kept = json.loads(path.read_text())
    [what] = kept["figures"]
    kept["figures"][what] = figures
    path.write_text(json.dumps(kept))
    assert attention().many == 2.0


@pytest.mark.skipif(
    sys.platform == "win32" or os.getuid() == 0, reason="the administrator may write anywhere"
)
def test_a_folder_that_cannot_be_written_to_is_no_error(measured, tmp_path):
    tmp_path.chmod(0o500)
    assert attention() == AttentionSpeed(1.0, 1.0)


def test_a_place_where_no_folder_can_be_is_no_error(measured, tmp_path):
    (tmp_path / "speeds").write_text("a file")
    assert attention() == AttentionSpeed(1.0, 1.0)


def test_disks_are_measured_by_reading(small_path, tmp_path, monkeypatch):
    monkeypatch.setattr("glmq.forecast.disk_speed.TRIAL_BYTES", 16 << 20)
    with open_gguf(small_path) as file:
        assert disk_speed(file).bandwidth > 0
    before = list(tmp_path.iterdir())
    assert folder_speed(tmp_path).bandwidth > 0
    assert list(tmp_path.iterdir()) == before


def test_steps_attention_and_memory_take_time(small_path, monkeypatch, tmp_path):
    monkeypatch.setattr(speeds, "cache_folder", lambda: tmp_path)
    for name, smaller in (("MEMORY_BYTES", 1 << 20), ("DEPTH", 256)):
        monkeypatch.setattr(measuring, name, smaller)
    with open_gguf(small_path) as file:
        memory = forecast_memory(file, model_settings(file, 128, 1, activations="int8"), "mmap")
    with Speeds(1) as found:
        looking_back = found.attention(memory.program.planner.n_heads, memory.program.cache_shape)
        with open_gguf(small_path) as file:
            step = found.step(file, "F16", "int8", 32)
        assert found.memory().bandwidth > 1e6
    assert min(looking_back.one, looking_back.many, step.one, step.batch) > 0


@given(st.floats(1e-6, 10), st.floats(0, 1e10), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_ranges_contain_what_is_likely(seconds, n_bytes, rates):
    costs = [Cost(seconds, n_bytes * (1 - rate), 0.5) for rate in sorted(rates)]
    found = _range(1, costs, DiskSpeed(1e9))
    assert found.low < found.likely < found.high


def test_experts_that_were_used_most_here_are_expected_to_be_used_again(disk_budget, small_path):
    with open_gguf(small_path) as file:
        needs = forecast_memory(file, model_settings(file, 128, 1, activations="int8"), "mmap").needs
        budget = disk_budget(small_path, needs, TOP_K, 8)
        memory = forecast_memory(file, model_settings(file, 128, 1, activations="int8", ram=budget), "mmap")
        assert (memory.n_kept, memory.n_experts) == (8, 16)
        fresh = hit_rates(file, memory)
        assert (fresh.known, fresh.likely) == (False, 0.5)
        uses = np.tile([10 * ENOUGH_USES] * 4 + [ENOUGH_USES] * 4, (2, 1))
        save_profile(profile_path(file.identity), np.zeros((2, 8)), uses)
        used = hit_rates(file, memory)
    assert used.known
    assert used.low == 0.5
    assert used.high == pytest.approx(40 / 44)
