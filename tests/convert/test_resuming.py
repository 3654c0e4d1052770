"""What a killed or failed conversion leaves is no half file under the final name, and can be gone on with."""

from __future__ import annotations

import random
import time

import pytest
from glmq_convert import portions
from glmq_convert.conversion import quantize
from glmq_convert.gguf_source import GGUFWeights
from glmq_convert.splits import SplitSizes
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import hidden_beside

from glmq.gguf import open_gguf
from tests.glmq.small_models import write_glm4moe

from .resumed_runs import PORTION_BYTES, start

N_KILLS = 20


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_glm4moe(tmp_path_factory.mktemp("source") / "small-F32.gguf", "F32")


@pytest.fixture
def model(source, monkeypatch):
    monkeypatch.setattr(portions, "PORTION_BYTES", PORTION_BYTES)
    with open_gguf(source) as file:
        yield file


@pytest.fixture
def reads(monkeypatch):
    """The portions that are read; after `.limit` of them, reading fails."""
    read = GGUFWeights.read

    class Reads(list):
        limit = 1 << 30

    seen = Reads()

    def counted(self, *arguments):
        if len(seen) >= seen.limit:
            raise OSError(5, "Input/output error")
        seen.append(arguments)
        return read(self, *arguments)

    monkeypatch.setattr(GGUFWeights, "read", counted)
    return seen


def record_of(path):
    return hidden_beside(path, ".progress")


SPLITS = pytest.mark.parametrize("split", [None, SplitSizes(max_tensors=20)], ids=["one file", "several"])


def files(folder):
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@SPLITS
def test_a_run_that_failed_is_gone_on_with(model, reads, tmp_path, split):
    (tmp_path / "whole").mkdir()
    quantize(model, tmp_path / "whole" / "out.gguf", "q8_0", split=split)
    n_all = len(reads)
    (tmp_path / "resumed").mkdir()
    out = tmp_path / "resumed" / "out.gguf"
    reads.clear()
    reads.limit = n_all // 2
    with pytest.raises(GlmqError, match="tensor .* cannot be read: Input/output error"):
        quantize(model, out, "q8_0", split=split, resume=True)
    assert not list(out.parent.glob("out*"))
    reads.clear()
    reads.limit = n_all
    quantize(model, out, "q8_0", split=split, resume=True)
    assert len(reads) < n_all - n_all // 2 + 8, "what was done is not done again"
    assert files(out.parent) == files(tmp_path / "whole")


def test_a_run_that_failed_leaves_nothing_where_it_is_not_to_be_gone_on_with(model, reads, tmp_path):
    reads.limit = 10
    with pytest.raises(GlmqError, match="tensor .* cannot be read: Input/output error"):
        quantize(model, tmp_path / "out.gguf", "q8_0")
    assert not list(tmp_path.iterdir())


def interrupted(model, reads, out, **arguments):
    reads.limit = 20
    with pytest.raises(GlmqError):
        quantize(model, out, "q8_0", resume=True, **arguments)
    reads.limit = 1 << 30


@pytest.mark.parametrize(
    "others",
    [{"type": "f16"}, {"metadata": {"general.name": "other"}}, {"allow_nan": True}],
    ids=["type", "metadata", "settings"],
)
def test_other_choices_are_told(model, reads, tmp_path, others):
    interrupted(model, reads, tmp_path / "out.gguf")
    before = files(tmp_path)
    with pytest.raises(GlmqError, match="was made from another source or by other choices"):
        quantize(model, tmp_path / "out.gguf", resume=True, **({"type": "q8_0"} | others))
    assert files(tmp_path) == before


def test_another_source_is_told(model, source, reads, tmp_path):
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    interrupted(model, reads, tmp_path / "out.gguf")
    with (
        open_gguf(copy) as other,
        pytest.raises(GlmqError, match="was made from another source or by other choices"),
    ):
        quantize(other, tmp_path / "out.gguf", "q8_0", resume=True)


def test_beginning_anew_removes_what_was_left(model, reads, tmp_path):
    interrupted(model, reads, tmp_path / "out.gguf", split=SplitSizes(max_tensors=20))
    assert len(list(tmp_path.iterdir())) > 2
    quantize(model, tmp_path / "out.gguf", "q8_0")
    assert [each.name for each in tmp_path.iterdir()] == ["out.gguf"]


def test_files_that_had_their_names_already_are_kept(model, reads, tmp_path):
    """A run is killed while it gives names to several files: the first file gets its name last."""
    split = SplitSizes(max_tensors=20)
    out = tmp_path / "out.gguf"
    interrupted(model, reads, out, split=split)
    quantize(model, tmp_path / "done.gguf", "q8_0", split=split)
    unfinished = sorted(tmp_path.glob(".out*.unfinished"))
    for part in sorted(tmp_path.glob("done-*"))[1:]:
        part.rename(tmp_path / part.name.replace("done", "out"))
    head = record_of(out).read_text().splitlines()[0]
    first = next(each for each in unfinished if each.name in head.split(",")[1])
    for each in unfinished:
        if each != first:
            each.unlink()
    done = next(tmp_path.glob("done-*"))
    first.write_bytes(done.read_bytes())
    n_all = sum(1 for _ in reads)
    record_of(out).write_text(f"{head}\n{n_all}\n")
    reads.clear()
    quantize(model, out, "q8_0", split=split, resume=True)
    assert (tmp_path / "out-00001-of-00003.gguf").read_bytes() == done.read_bytes()
    assert not list(tmp_path.glob(".out*"))


def test_a_record_that_is_torn_counts_up_to_its_last_whole_line(model, reads, tmp_path):
    out = tmp_path / "out.gguf"
    interrupted(model, reads, out)
    with record_of(out).open("a") as record:
        record.write("99999")
    quantize(model, out, "q8_0", resume=True)
    quantize(model, tmp_path / "whole.gguf", "q8_0")
    assert out.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def killed(source, out, type_name, seconds, moment):
    """Start a run and kill it at a moment, which is told the seconds since it began to write."""
    process = start(source, out, type_name, seconds)
    began = None
    while process.poll() is None:
        if began is None and record_of(out).exists():
            began = time.monotonic()
        if began is not None and moment(time.monotonic() - began):
            process.kill()
        time.sleep(0.001)
    return process.wait()


def test_a_killed_run_is_gone_on_with(model, source, reads, tmp_path):
    out = tmp_path / "out.gguf"

    def after_some_portions(seconds):
        return int(record_of(out).read_text().split("\n")[-2] or 0) > 10

    assert killed(source, out, "q8_0", 0.01, after_some_portions) == -9
    assert not out.exists()
    quantize(model, out, "q8_0", resume=True, threads=1)
    n_left = len(reads)
    reads.clear()
    quantize(model, tmp_path / "whole.gguf", "q8_0")
    assert n_left < len(reads)
    assert out.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out", "parts"])
def test_runs_that_are_killed_at_random_moments(model, source, tmp_path, name):
    split = SplitSizes(max_tensors=20) if name == "parts" else None
    (tmp_path / "whole").mkdir()
    quantize(model, tmp_path / "whole" / f"{name}.gguf", "q8_0", split=split)
    (tmp_path / "resumed").mkdir()
    out = tmp_path / "resumed" / f"{name}.gguf"
    expected, chance = files(tmp_path / "whole"), random.Random(4)
    n_killed = 0
    while n_killed < N_KILLS:
        until = chance.uniform(0, 0.6)
        n_killed += killed(source, out, "q8_0", 0.005, lambda seconds, until=until: seconds > until) == -9
        there = {each: content for each, content in files(out.parent).items() if not each.startswith(".")}
        assert there.items() <= expected.items(), "no half file has a final name"
        if len(there) == len(expected):
            assert files(out.parent) == expected
            for each in out.parent.iterdir():
                each.unlink()
    if killed(source, out, "q8_0", 0, lambda seconds: False):
        pytest.fail("a run that is not killed fails")
    assert files(out.parent) == expected
