"""Speeds of this machine are measured once and kept."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glmq.experts.profile import profile_path, save_profile
from glmq.forecast import measuring, speeds
from glmq.forecast.disk_speed import disk_speed, folder_speed
from glmq.forecast.figures import DiskSpeed, ProductSpeed
from glmq.forecast.memory import forecast_memory
from glmq.forecast.routing import ENOUGH_USES, hit_rates
from glmq.forecast.speeds import Speeds
from glmq.forecast.timing import Cost, _range, seconds_per_weight
from glmq.gguf import open_gguf

from ..small_models import TOP_K


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Counts what is measured, and keeps it in a folder of its own."""
    monkeypatch.setattr(speeds, "cache_folder", lambda: tmp_path)
    found = []

    def product_speed(thread_pool, type_name, activations):
        found.append(type_name)
        return ProductSpeed(1.0, 2.0, float(len(found)))

    monkeypatch.setattr(measuring, "product_speed", product_speed)
    return found


def product(type_name="Q4_0", **options):
    with Speeds(1, **options) as kept:
        return kept.product(type_name, "int8")


def test_what_was_measured_is_kept_until_it_is_to_be_measured_again(measured):
    assert product() == product() == ProductSpeed(1.0, 2.0, 1.0)
    assert measured == ["Q4_0"]
    product("Q8_0")
    assert product(again=True).many == 3.0
    assert measured == ["Q4_0", "Q8_0", "Q4_0"]
    assert product().many == 3.0


def test_another_machine_or_version_has_figures_of_its_own(measured, monkeypatch):
    product()
    monkeypatch.setattr(speeds, "__version__", "another")
    product()
    monkeypatch.setattr(speeds, "cpu_name", lambda: "another")
    product()
    assert len(measured) == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"figures": {"Q4_0 int8": [1, 2, 3]}}', "null"])
def test_damaged_figures_are_measured_again(measured, tmp_path, damage):
    product()
    [path] = (tmp_path / "speeds").iterdir()
    path.write_text(damage)
    assert product().many == 2.0


@pytest.mark.parametrize("figures", [[1.0], [1.0, 2.0, "x"], [1.0, 2.0, -1.0], [1.0, 2.0, float("nan")], 7])
def test_impossible_figures_are_measured_again(measured, tmp_path, figures):
    product()
    [path] = (tmp_path / "speeds").iterdir()
    kept = json.loads(path.read_text())
    kept["figures"]["Q4_0 int8"] = figures
    path.write_text(json.dumps(kept))
    assert product().many == 2.0


@pytest.mark.skipif(
    sys.platform == "win32" or os.getuid() == 0, reason="the administrator may write anywhere"
)
def test_a_folder_that_cannot_be_written_to_is_no_error(measured, tmp_path):
    tmp_path.chmod(0o500)
    assert product() == ProductSpeed(1.0, 2.0, 1.0)


def test_a_place_where_no_folder_can_be_is_no_error(measured, tmp_path):
    (tmp_path / "speeds").write_text("a file")
    assert product() == ProductSpeed(1.0, 2.0, 1.0)


def test_disks_are_measured_by_reading(small_path, tmp_path, monkeypatch):
    monkeypatch.setattr("glmq.forecast.disk_speed.TRIAL_BYTES", 16 << 20)
    with open_gguf(small_path) as file:
        assert disk_speed(file).bandwidth > 0
    before = list(tmp_path.iterdir())
    assert folder_speed(tmp_path).bandwidth > 0
    assert list(tmp_path.iterdir()) == before


def test_products_attention_and_steps_take_time(small_path, monkeypatch, tmp_path):
    monkeypatch.setattr(speeds, "cache_folder", lambda: tmp_path)
    for name, smaller in (("ONE_BYTES", 1 << 20), ("FEW_ROWS", 64), ("MANY_ROWS", 64), ("DEPTH", 256)):
        monkeypatch.setattr(measuring, name, smaller)
    with open_gguf(small_path) as file:
        memory = forecast_memory(file, 128, 1, "F16", "int8", None)
    with Speeds(1) as found:
        speed = found.product("Q8_0", "int8")
        attention = found.attention(memory.program.planner.n_heads, memory.program.cache_shape)
        step = found.step()
        assert found.memory().bandwidth > 1e6
    assert min(speed.one, speed.few, speed.many, attention.one, attention.many, step.operation) > 0
    assert min(step.number, step.step) >= 0


@given(st.floats(1e-6, 10), st.floats(0, 1e10), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_ranges_contain_what_is_likely(seconds, n_bytes, rates):
    costs = [Cost(seconds, n_bytes * (1 - rate)) for rate in sorted(rates)]
    found = _range(1, costs, DiskSpeed(1e9))
    assert found.low < found.likely < found.high


@given(st.floats(1, 4096))
def test_a_weights_time_lies_on_lines_through_what_was_measured(n_tokens):
    speed = ProductSpeed(1.0, 11.0, 95.0)
    assert seconds_per_weight(speed, 1) == 1.0
    assert seconds_per_weight(speed, measuring.FEW) == 11.0
    assert seconds_per_weight(speed, measuring.MANY) == 95.0
    assert seconds_per_weight(speed, n_tokens) <= seconds_per_weight(speed, n_tokens + 1)


def test_experts_that_were_used_most_here_are_expected_to_be_used_again(disk_budget, small_path):
    with open_gguf(small_path) as file:
        needs = forecast_memory(file, 128, 1, "F16", "int8", None).needs
        budget = disk_budget(small_path, needs, TOP_K, 8)
        memory = forecast_memory(file, 128, 1, "F16", "int8", budget)
        assert (memory.n_kept, memory.n_experts) == (8, 16)
        fresh = hit_rates(file, memory)
        assert (fresh.known, fresh.likely) == (False, 0.5)
        uses = np.tile([10 * ENOUGH_USES] * 4 + [ENOUGH_USES] * 4, (2, 1))
        save_profile(profile_path(file.identity), np.zeros((2, 8)), uses)
        used = hit_rates(file, memory)
    assert used.known
    assert used.low == 0.5
    assert used.high == pytest.approx(40 / 44)
