"""The file in which pages of the KV cache are, and who may read it."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.ops.attention.cache_layout import CacheShape

from glmq.kv_cache import page_file
from glmq.kv_cache.page_file import DiskRoom, PageFile, disk_room
from glmq.kv_cache.page_pool import PagePool
from glmq.kv_cache.prefix_tree import PrefixTree
from glmq.kv_cache.sequence import Sequence

from .numbered_pages import SHAPE, P, text
from .pages_on_disk import eventually, leave, send_to_disk, tree_on_disk


@pytest.fixture
def tree(tmp_path):
    """With memory for ten pages and disk for thirty."""
    tree = tree_on_disk(tmp_path, 10, 30)
    yield tree
    tree.close()


@pytest.mark.skipif(sys.platform == "win32", reason="the file has a name there")
def test_the_file_is_its_owners_and_has_no_name(tmp_path):
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    tree = tree_on_disk(tmp_path, 10, 30)
    leave(tree, text(6 * P))
    send_to_disk(tree)
    status = os.fstat(tree.file._file._descriptor)
    assert status.st_mode & 0o777 == 0o600
    assert status.st_nlink == 0 and os.listdir(tmp_path) == []
    tree.close()
    if before:
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= len(before))


def test_a_writer_ends_with_its_tree(tmp_path):
    tree = tree_on_disk(tmp_path, 10, 30)
    thread, gone = tree.writer._thread, weakref.ref(tree.writer)
    del tree
    gc.collect()
    assert gone() is None
    thread.join(5)
    assert not thread.is_alive()


def test_after_closing_nothing_is_written_or_read(tree):
    leave(tree, text(3 * P))
    place = tree.file.write(tree.file.take(), np.zeros(SHAPE.page_bytes, np.uint8))
    tree.close()
    assert not tree.writer._thread.is_alive()
    assert not tree.file.read(place, np.zeros(SHAPE.page_bytes, np.uint8))
    with pytest.raises(OSError, match="closed"):
        tree.file.write(0, np.zeros(SHAPE.page_bytes, np.uint8))


@pytest.mark.parametrize("guarded", (False, True))
def test_pages_of_whole_blocks_and_others_are_read_as_they_were(tmp_path, monkeypatch, guarded):
    if guarded:
        monkeypatch.setenv("GLMQ_GUARD_PAGES", "1")
    for shape in (SHAPE, CacheShape(n_layers=1, n_kv_heads=64, key_dim=16, value_dim=16)):
        file = PageFile(DiskRoom(100 * shape.page_bytes, tmp_path), shape)
        pool = PagePool(shape, 4 * shape.page_bytes)
        sequence = Sequence(PrefixTree(pool))
        sequence.reserve(4 * P)
        chance = np.random.default_rng(0)
        contents = [chance.integers(0, 256, shape.page_bytes, np.uint8) for _ in range(4)]
        places = []
        for page, content in zip(sequence.pages, contents, strict=True):
            page.bytes[:] = content
            places.append(file.write(file.take(), page.bytes))
        for page, place, content in zip(reversed(sequence.pages), places, contents, strict=True):
            assert file.read(place, page.bytes)
            assert np.array_equal(page.bytes, content)


def test_room_that_is_none_is_refused_in_a_line(tmp_path):
    with pytest.raises(
        GlmqError, match=r"one page of this model's KV cache takes .* allow at least"
    ) as caught:
        PageFile(DiskRoom(100, tmp_path), SHAPE)
    assert caught.value.setting == "cache_disk"
    with pytest.raises(GlmqError, match="there is no folder .*missing for pages") as caught:
        disk_room(1 << 30, tmp_path / "missing")
    assert caught.value.setting == "cache_folder"


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no folder in memory")
def test_a_folder_in_memory_is_refused():
    with pytest.raises(GlmqError, match="/dev/shm is in memory, which pages of the KV cache are to leave"):
        disk_room(1 << 30, Path("/dev/shm"))


def test_a_disk_with_less_room_than_that_is_told(tmp_path, monkeypatch):
    assert disk_room(1 << 20, tmp_path).remark is None
    remark = disk_room(1 << 60, tmp_path).remark
    assert "may take 1152921504.6 GB of the disk" in remark and "can be had now" in remark
    monkeypatch.setattr(page_file, "ROOM_LEFT", 1 << 60)
    with pytest.raises(GlmqError, match="has no room for pages of the KV cache"):
        PageFile(DiskRoom(1 << 30, tmp_path), SHAPE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_leaves_the_file_alone(tmp_path):
    tree = tree_on_disk(tmp_path, 10, 30)
    page = np.zeros(SHAPE.page_bytes, np.uint8)
    place = tree.file.write(tree.file.take(), page)
    tree.pool.lock.acquire()  # as if a thread that the child has not held it
    child = os.fork()
    if child == 0:
        try:
            is_free = tree.pool.lock.acquire(timeout=1)
            os._exit(0 if is_free and not tree.file.read(place, page) else 1)
        except BaseException:
            os._exit(2)
    tree.pool.lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tree.file.read(place, page)
    tree.close()
