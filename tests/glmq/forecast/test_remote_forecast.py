"""Models on the Hub are planned from their headers alone."""

from __future__ import annotations

import re

import pytest

from glmq.forecast.forecast import forecast
from glmq.forecast.model_source import open_source
from glmq.gguf import GGUFError, described_file, open_described, open_gguf

from ..small_models import TOP_K, write_deepseek2, write_glm4moe

REPO = "tiny/Air-GGUF"


class LocalFile:
    """A file on this machine, read by ranges."""

    def __init__(self, path):
        self._bytes = path.read_bytes()
        self.n_bytes, self.identity = len(self._bytes), str(path)
        self.n_read = 0

    def read(self, first, n_bytes):
        self.n_read += n_bytes
        return self._bytes[first : first + n_bytes]


def comparable(found):
    """What does not hang on where the model is, or on what this process has taken by now."""
    report = found.as_dict()
    for name in ("model", "is_here", "assumptions"):
        del report[name]
    report["memory"] = {k: v for k, v in report["memory"].items() if k not in ("process", "total")}
    return report


def bytes_asked_for(hub):
    """Of the store, by ranges."""
    found = [re.fullmatch(r"bytes=(\d+)-(\d+)", each.headers.get("range", "")) for each in hub.requests]
    return sum(int(each[2]) - int(each[1]) + 1 for each in found if each)


@pytest.mark.parametrize("step", [64, 1000, 1 << 20])
@pytest.mark.parametrize("write", [write_glm4moe, write_deepseek2])
def test_a_header_is_read_as_far_as_it_goes(monkeypatch, tmp_path, write, step):
    monkeypatch.setattr(described_file, "FIRST_BYTES", step)
    monkeypatch.setattr(described_file, "AT_ONCE", step)
    path = write(tmp_path / "model.gguf", "Q8_0")
    read = []

    def opened(part):
        read.append(LocalFile(part))
        return read[-1]

    with open_described(path, opened) as described, open_gguf(path) as file:
        assert dict(described.tensors) == dict(file.tensors)
        assert list(described.metadata) == list(file.metadata)
        assert described.sizes == file.sizes
        header_bytes = min(info.offset for info in file.tensors.values())
    assert sum(each.n_read for each in read) <= 2 * header_bytes + 2 * step


def test_a_damaged_header_is_refused_as_in_a_whole_file(monkeypatch, tmp_path):
    monkeypatch.setattr(described_file, "FIRST_BYTES", 1000)
    path = write_glm4moe(tmp_path / "model.gguf", "Q8_0")
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(GGUFError) as whole:
        open_gguf(path)
    with pytest.raises(GGUFError) as described:
        open_described(path, LocalFile)
    assert str(described.value) == str(whole.value)


@pytest.mark.usefixtures("fixed_speeds")
@pytest.mark.parametrize("tensors_per_file", [0, 20])
def test_a_remote_model_has_the_forecast_of_the_same_file_here(hub, tmp_path, tensors_per_file, fixed_speeds):
    write_glm4moe(tmp_path / "air-Q8_0.gguf", "Q8_0", tensors_per_file=tensors_per_file)
    files = {path.name: path.read_bytes() for path in sorted(tmp_path.glob("*.gguf"))}
    hub.repos[REPO] = files
    remote = forecast(f"{REPO}:Q8_0", n_ctx=256, ram=10**9)
    local = forecast(tmp_path / min(files), n_ctx=256, ram=10**9)
    assert comparable(remote) == comparable(local)
    assert not remote.is_here and local.is_here
    assert 0 < bytes_asked_for(hub) < sum(map(len, files.values()))
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("fixed_speeds")
def test_of_the_smallest_quantization_it_is_told_what_would_stay_where_none_fits(hub, tmp_path, disk_budget):
    large = write_glm4moe(tmp_path / "air.gguf", "F32")
    smaller = write_glm4moe(tmp_path / "small.gguf", "Q8_0").read_bytes()
    hub.repos[REPO] = {"air-F32.gguf": large.read_bytes(), "air-Q8_0.gguf": smaller}
    needs = forecast(large, n_ctx=256).memory.needs
    found = forecast(f"{REPO}:F32", n_ctx=256, ram=disk_budget(large, needs, TOP_K, 2))
    assert found.memory.n_kept == 2
    assert any(
        step.text.startswith("Q8_0 (") and step.text.endswith(" of 16 experts would stay")
        for step in found.next_steps
    )


@pytest.mark.usefixtures("fixed_speeds")
def test_a_smaller_quantization_of_the_repository_is_offered(hub, tmp_path):
    content = write_glm4moe(tmp_path / "air.gguf", "F32").read_bytes()
    smaller = write_glm4moe(tmp_path / "small.gguf", "Q4_0").read_bytes()
    hub.repos[REPO] = {"air-F32.gguf": content, "air-Q4_0.gguf": smaller}
    needs = forecast(f"{REPO}:F32", n_ctx=256).memory.needs
    found = forecast(f"{REPO}:F32", n_ctx=256, ram=needs.total - len(content) // 2)
    assert found.memory.placement is not None or not found.runs
    assert any(step.text.startswith("Q4_0 (") for step in found.next_steps)


def test_what_is_in_the_cache_is_planned_as_a_file(hub, tmp_path):
    content = write_glm4moe(tmp_path / "air.gguf", "Q8_0").read_bytes()
    hub.repos[REPO] = {"air-Q8_0.gguf": content, "air-Q4_0.gguf": content[:-32]}
    from glmq.model_file import model_file

    model_file(REPO, progress=lambda text, fraction: None)
    hub.requests.clear()
    with open_source(REPO) as source:
        assert source.is_here
        assert hub.requests == []
        assert {other.name for other in source.others()} == {"Q8_0", "Q4_0"}
