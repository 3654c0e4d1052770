"""A model's file that is cut, written to or replaced while it is in use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from glmq_kernels.disk_reads import disk_reader as reader_module

import glmq
from glmq import file_contents
from glmq.experts import disk as disk_module

from .disk_models import UnreliableDisk, load_from_disk, plan_with_experts_on_disk
from .small_models import write_glm4moe
from .test_closing import QUESTION

GREEDY = glmq.Sampling(temperature=0)


@pytest.fixture
def path(tmp_path, small_path):
    return Path(shutil.copy(small_path, tmp_path / "own.gguf"))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def write_into(path):
    with path.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\0")
    os.utime(path)


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def replace(path):
    other = path.with_name("other")
    shutil.copy2(path, other)
    other.replace(path)


def copy_over(path):
    path.write_bytes(path.read_bytes())
    os.utime(path)


@pytest.fixture
def parts(tmp_path):
    """A model in several files."""
    (tmp_path / "parts").mkdir()
    write_glm4moe(tmp_path / "parts" / "own.gguf", "Q8_0", tensors_per_file=20)
    return sorted((tmp_path / "parts").iterdir())


CHANGES = (cut, empty, write_into, append, replace, copy_over)


@pytest.mark.parametrize("change", CHANGES)
def test_every_use_after_a_change_says_so_in_one_line(path, change, tmp_path):
    with glmq.load(path, n_ctx=128) as model:
        session = model.session()
        session.evaluate([1, 2, 3])
        begun = model.generate("x", session=model.session())
        next(iter(begun))
        change(path)
        uses = (
            lambda: model.generate("x").run(),
            lambda: model.chat(QUESTION).run(),
            lambda: model.logits([1]),
            lambda: session.evaluate([1]),
            lambda: session.save(tmp_path / "a.session"),
            begun.run,
        )
        for use in uses:
            with pytest.raises(glmq.GlmqError, match=r"own\.gguf has changed .*; load it again") as caught:
                use()
            assert "\n" not in str(caught.value)
        assert session.tokens == [1, 2, 3]
        assert model.detokenize(model.tokenize("The vocabulary is still there")) != ""


def test_a_file_that_is_only_deleted_is_used_on(path):
    with glmq.load(path) as model:
        before = model.logits([1, 2])
        path.unlink()
        np.testing.assert_array_equal(model.logits([1, 2]), before)


@pytest.mark.parametrize("change", (cut, replace))
def test_a_relative_path_is_looked_for_where_it_was(path, change, monkeypatch, tmp_path):
    monkeypatch.chdir(path.parent)
    with glmq.load("own.gguf") as model:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        model.logits([1])
        change(path)
        with pytest.raises(glmq.GlmqError, match="has changed"):
            model.logits([1])


@pytest.mark.parametrize("part", (0, 1, 2))
def test_every_part_of_a_split_model_counts(parts, part):
    with glmq.load(parts[0]) as model:
        model.logits([1])
        cut(parts[part])
        with pytest.raises(glmq.GlmqError, match=f"-0000{part + 1}-of-.*gguf has changed"):
            model.logits([1])


def test_a_file_whose_experts_come_from_disk(path, monkeypatch):
    with load_from_disk(monkeypatch, path, 5) as model:
        model.logits([1])
        cut(path)
        with pytest.raises(glmq.GlmqError, match="has changed"):
            model.logits([1])


CRASH = """
import os, sys
import glmq
path = sys.argv[1]
model = glmq.load(path)
if sys.argv[2] == "used":
    model.generate("Hello", max_tokens=2).run()
os.truncate(path, 200)
for use in (lambda: model.tokenize("x"), lambda: model.generate("x").run(), lambda: model.logits([1]),
            lambda: model.session().save(path + ".session"), lambda: model.file.fingerprint,
            lambda: model.file.data("output.weight"), lambda: model.file.first_bytes(10**6).sum()):
    try:
        use()
    except glmq.GlmqError as error:
        print(error)
"""


@pytest.mark.parametrize("used", ("used", "not used"))
def test_a_cut_does_not_kill_the_process(path, used):
    ended = subprocess.run(
        [sys.executable, "-c", CRASH, str(path), used], capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 6, "all but tokenize"


def test_a_model_that_was_read_needs_its_file_no_more(path, tmp_path):
    with glmq.load(path) as mapped:
        expected = mapped.logits([1, 2, 3])
    with glmq.load(path, load="read") as model:
        empty(path)
        np.testing.assert_array_equal(model.logits([1, 2, 3]), expected)
        session = model.session()
        session.evaluate([1, 2, 3])
        session.save(tmp_path / "a.session")
        assert model.restore_session(tmp_path / "a.session").session.tokens == [1, 2, 3]
        model.chat(QUESTION, max_tokens=3).run()
        path.unlink()
        np.testing.assert_array_equal(model.logits([1, 2, 3]), expected)


def test_a_split_model_is_read_whole(parts):
    with glmq.load(parts[0]) as mapped:
        expected = mapped.logits([1, 2, 3])
    with glmq.load(parts[1], load="read") as model:
        for part in parts:
            empty(part)
        np.testing.assert_array_equal(model.logits([1, 2, 3]), expected)


def test_reading_tells_how_far_it_is(path, monkeypatch):
    monkeypatch.setattr(disk_module, "CHUNK", 1 << 16)
    monkeypatch.setattr(disk_module, "CHUNKS_AT_ONCE", 2)
    told = []
    with glmq.load(path, load="read", progress=lambda text, fraction: told.append((text, fraction))):
        fractions = [fraction for text, fraction in told if text.startswith("reading the model: ")]
    assert len(fractions) > 3
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_a_model_for_which_there_is_no_room_is_not_read(path, monkeypatch):
    monkeypatch.setattr("glmq.loading.plan_memory", plan_with_experts_on_disk)
    with pytest.raises(glmq.GlmqError, match=r"needs .* to be read into memory, but there are 5 MB; .*mmap"):
        glmq.load(path, load="read", ram=5_000_000)


def test_a_budget_that_suffices_is_fine(path):
    with glmq.load(path, load="read", ram="2G") as model:
        assert model.experts is None
        assert model.file.in_memory


def test_an_unknown_way_to_load_is_refused(path):
    with pytest.raises(
        glmq.GlmqError, match="'mapped' is no way to load a model; choose mmap, read, transcode"
    ):
        glmq.load(path, load="mapped")


def test_a_disk_that_fails_is_told(path, monkeypatch):
    broken = UnreliableDisk(failures=10**6)
    monkeypatch.setattr(disk_module, "DiskReader", partial(reader_module.DiskReader, read=broken.address))
    with pytest.raises(glmq.GlmqError, match=r"own\.gguf cannot be read at byte 0: .*check the disk"):
        glmq.load(path, load="read")


def test_a_file_that_changes_while_it_is_read_is_refused(path, monkeypatch):
    load_file = disk_module.Disk.load_file

    def changed_meanwhile(self, *arguments):
        append(path)
        return load_file(self, *arguments)

    monkeypatch.setattr(disk_module.Disk, "load_file", changed_meanwhile)
    with pytest.raises(glmq.GlmqError, match="has changed"):
        glmq.load(path, load="read")


def test_an_interrupt_while_it_is_read_leaves_nothing_behind(path, monkeypatch):
    import threading

    def interrupted(file, progress, nodes):
        def stop(text, fraction):
            if fraction:
                raise KeyboardInterrupt

        hold(file, stop)

    hold = file_contents.hold_in_memory
    monkeypatch.setattr("glmq.loading.hold_in_memory", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        glmq.load(path, load="read")
    assert threading.active_count() == before
