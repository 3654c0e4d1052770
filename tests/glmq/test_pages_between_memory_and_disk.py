"""Pages on their way to the disk and back: what may go wrong, and what happens at the same time."""

from __future__ import annotations

import errno
import os
import threading
import time

import numpy as np
import pytest

from glmq.kv_cache.sequence import Sequence

from .numbered_pages import SHAPE, P, evaluate, text, use_in_threads
from .pages_on_disk import OnDemand, check_places, eventually, found, leave, send_to_disk, tree_on_disk


@pytest.fixture
def tree(tmp_path):
    """With memory for ten pages and disk for thirty."""
    tree = tree_on_disk(tmp_path, 10, 30)
    yield tree
    tree.close()


# What goes wrong


@pytest.mark.filterwarnings("error")
def test_a_disk_that_cannot_be_written_ends_nothing_and_is_told_once(tree, monkeypatch):
    def fails(position, buffer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tree.file._file, "write", fails)
    told = []
    monkeypatch.setattr("warnings.warn", lambda message, *more, **others: told.append(message))
    for seed in range(3):
        leave(tree, text(7 * P, seed))
        tree.writer._pauses_until = 0.0
    eventually(lambda: told)
    assert found(tree, text(7 * P, seed=0)) < 7 * P
    assert len(told) == 1 and "cannot be written to the disk" in told[0] and "No space left" in told[0]
    assert "No space left" in tree.statistics().line()
    with tree.pool.lock:
        check_places(tree)


def test_a_damaged_page_counts_as_gone_with_what_hangs_on_it(tree):
    leave(tree, text(6 * P))
    send_to_disk(tree)
    nodes = [node for node, _ in tree.path(text(6 * P))]
    tree.file.write(nodes[3].place.number, np.full(SHAPE.page_bytes, 7, np.uint8))
    with pytest.warns(RuntimeWarning, match="are damaged; the tokens are evaluated again"):
        assert found(tree, text(6 * P)) == 3 * P
    assert tree.statistics().n_lost == 3
    leave(tree, text(6 * P))
    send_to_disk(tree)
    assert found(tree, text(6 * P)) == 6 * P


@pytest.mark.parametrize("error", (OSError(errno.EIO, os.strerror(errno.EIO)), MemoryError()))
def test_a_page_that_the_system_cannot_read_counts_as_gone(tree, monkeypatch, error):
    leave(tree, text(3 * P))
    send_to_disk(tree)

    def fails(position, buffer):
        raise error

    monkeypatch.setattr(tree.file._file, "read", fails)
    with pytest.warns(RuntimeWarning, match="cannot be read: (Input/output error|it gives no memory)"):
        assert found(tree, text(3 * P)) == 0


def test_without_threads_nothing_comes_back_and_nothing_ends(tree, monkeypatch):
    leave(tree, text(3 * P))
    send_to_disk(tree)

    def none_left(*arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("glmq.kv_cache.returning_pages.ThreadPoolExecutor.submit", none_left)
    assert found(tree, text(3 * P)) == 0
    assert tree.pool.n_used == 0


# Side by side


def slowly(tree, monkeypatch, seconds=0.02, meanwhile=lambda: None):
    """Reads take a while, in which something else may happen, without the lock."""
    read = tree.file.read

    def slow(place, page):
        time.sleep(seconds)
        meanwhile()
        return read(place, page)

    monkeypatch.setattr(tree.file, "read", slow)


def test_the_pool_is_free_while_pages_are_read_and_written(tree, monkeypatch):
    free = []

    def look():
        free.append(tree.pool.lock.acquire(timeout=5))
        if free[-1]:
            tree.pool.lock.release()

    write = tree.file.write
    monkeypatch.setattr(tree.file, "write", lambda *more: (look(), write(*more))[1])
    slowly(tree, monkeypatch, meanwhile=look)
    leave(tree, text(6 * P))
    send_to_disk(tree)
    assert found(tree, text(6 * P)) == 6 * P
    assert len(free) == 12 and all(free)


def test_who_wants_the_same_at_the_same_time_shares_it(tree, monkeypatch):
    leave(tree, text(4 * P))
    send_to_disk(tree)
    slowly(tree, monkeypatch)
    sequences, found_by = [Sequence(tree) for _ in range(2)], []
    threads = [
        threading.Thread(target=lambda each=each: found_by.append(each.adopt(text(4 * P))))
        for each in sequences
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found_by == [4 * P] * 2
    assert list(sequences[0].pages) == list(sequences[1].pages)
    assert tree.pool.n_used == 4


@pytest.mark.parametrize("change", ("clear", "displace"))
def test_what_is_thrown_away_while_it_is_read_is_not_taken_for_it(tmp_path, monkeypatch, change):
    """Its place may hold another page by then."""
    tree = tree_on_disk(tmp_path, 10, 4, OnDemand)
    leave(tree, text(4 * P))
    tree.writer.write_all()
    send_to_disk(tree)
    changed = threading.Event()

    def once():
        if changed.is_set():
            return
        changed.set()
        with tree.pool.lock:
            if change == "clear":
                tree.clear()
        other = Sequence(tree)
        evaluate(other, text(4 * P, seed=1))
        other.release()
        tree.writer.write_all()

    slowly(tree, monkeypatch, 0.0, once)
    assert found(tree, text(4 * P)) < 4 * P
    assert found(tree, text(4 * P, seed=1)) == 4 * P


def test_who_wants_it_no_more_waits_less_than_a_second(tree, monkeypatch):
    leave(tree, text(9 * P))
    send_to_disk(tree)
    slowly(tree, monkeypatch, 0.2)
    began = time.monotonic()
    n = found(tree, text(9 * P), goes_on=lambda: time.monotonic() < began + 0.05)
    assert time.monotonic() - began < 1
    assert 0 < n < 9 * P, "what was read by then is not lost"


def test_ctrl_c_while_pages_come_back_leaves_all_as_it_was(tree, monkeypatch):
    leave(tree, text(5 * P))
    send_to_disk(tree)
    slowly(tree, monkeypatch, 0.1)
    sequence = Sequence(tree)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sequence.adopt(text(5 * P), goes_on=interrupted)
    assert tree.pool.n_used == 0
    assert found(tree, text(5 * P)) == 5 * P


def test_threads_with_sequences_of_their_own_share_pool_and_disk(tmp_path):
    tree = tree_on_disk(tmp_path, 40, 60)
    use_in_threads(tree, n_rounds=60, most_pages=9, n_texts=9)
    eventually(lambda: not tree.writer._is_awake)
    with tree.pool.lock:
        tree.pool.settle()
        check_places(tree)
        assert tree.pool.n_used == 0
    assert tree.statistics().n_returned > 0
    tree.close()
