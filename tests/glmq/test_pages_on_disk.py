"""Pages of the KV cache that go to the disk while nobody uses them, and come back."""

from __future__ import annotations

import time

import numpy as np
import pytest
from glmq_kernels.ops.attention.cache_layout import CacheShape

from glmq.kv_cache import page_file
from glmq.kv_cache.hidden_states import HiddenStates
from glmq.kv_cache.page_file import DiskRoom, PageFile
from glmq.kv_cache.sequence import Sequence

from .numbered_pages import P, assert_holds_its_tokens, evaluate, text
from .pages_on_disk import PLACE_BYTES, OnDemand, eventually, found, leave, send_to_disk, tree_on_disk


@pytest.fixture
def tree(tmp_path):
    """With memory for ten pages and disk for thirty."""
    tree = tree_on_disk(tmp_path, 10, 30)
    yield tree
    tree.close()


# Away and back


@pytest.mark.parametrize("n", (1, 63, P, 5 * P, 5 * P + 20))
def test_what_left_the_memory_comes_back_to_the_token(tree, n):
    leave(tree, text(n))
    send_to_disk(tree)
    assert tree.statistics().n_cached == 0
    assert found(tree, [*text(n), 5]) == n
    counts = tree.statistics()
    assert (counts.n_on_disk, counts.n_returned, counts.n_reclaimed) == (0, -(-n // P), 0)


def test_three_texts_of_which_memory_holds_one_are_all_there(tree):
    for turn in range(3):
        for seed in range(3):
            assert found(tree, text(9 * P, seed)) == (9 * P if turn else 0)
            leave(tree, text(9 * P, seed))
    assert tree.statistics().n_reclaimed == 0


def test_a_text_goes_on_from_what_came_back_and_is_kept_as_one(tree):
    leave(tree, text(3 * P + 10))
    send_to_disk(tree)
    leave(tree, text(3 * P + 10) + text(P, seed=1))
    send_to_disk(tree)
    assert found(tree, text(3 * P + 10) + text(P, seed=1)) == 4 * P + 10
    assert tree.file.n_taken == 5


def test_of_two_texts_that_part_each_comes_back(tree):
    common = text(2 * P + 7)
    for seed in (1, 2):
        leave(tree, common + text(2 * P, seed))
    send_to_disk(tree)
    for seed in (1, 2):
        assert found(tree, common + text(2 * P, seed)) == 4 * P + 7


def test_a_page_that_came_back_is_not_written_again(tree):
    for _ in range(4):
        leave(tree, text(5 * P))
        send_to_disk(tree)
    counts = tree.statistics()
    assert (counts.n_written, counts.n_returned) == (5, 15)


def test_evaluating_the_same_bits_again_keeps_what_hangs_on_them(tree):
    leave(tree, text(4 * P))
    send_to_disk(tree)
    sequence = Sequence(tree)
    evaluate(sequence, text(2 * P))
    sequence.publish(exact=True)
    assert found(tree, text(4 * P)) == 4 * P
    assert tree.statistics().n_returned == 2


def test_other_bits_take_the_place_of_what_was_on_the_disk(tree):
    leave(tree, text(4 * P))
    send_to_disk(tree)
    sequence = Sequence(tree)
    evaluate(sequence, text(2 * P), last_bit=1)
    own = [page.bytes.copy() for page in sequence.pages]
    sequence.publish(exact=True)
    assert all(map(np.array_equal, own, (page.bytes for page in sequence.pages)))
    assert found(tree, text(4 * P)) == 2 * P, "what was evaluated behind other bits is gone"


def test_rows_of_prediction_come_back_too(tmp_path):
    shape = CacheShape(n_layers=3, n_kv_heads=2, key_dim=32, value_dim=32, n_prediction_layers=1)
    file = PageFile(DiskRoom(1 << 20, tmp_path), shape)
    page, back = (np.full(shape.page_bytes, value, np.uint8) for value in (7, 0))
    place = file.write(file.take(), page)
    assert file.read(place, back) and np.array_equal(page, back)
    other = page.copy()
    other[-1] = 0
    assert file.holds(place, other), "what the trunk reads is the same"
    other[0] = 0
    assert not file.holds(place, other)


def test_hidden_states_of_a_page_that_is_not_full_come_back_with_it(tree):
    states = HiddenStates(P + 10, np.ones((5, 4), np.float32), n_behind=3)
    sequence = Sequence(tree)
    evaluate(sequence, text(P + 15))
    sequence.hidden = states
    sequence.release()
    send_to_disk(tree)
    assert sequence.adopt(text(P + 15)) == P + 15
    assert tree.statistics().n_returned == 2
    assert (sequence.hidden.n_behind, sequence.hidden.end) == (3, P + 15)
    np.testing.assert_array_equal(sequence.hidden.at(P + 14), np.ones(4))


def test_little_is_written_while_much_is_free(tree):
    leave(tree, text(4 * P))
    time.sleep(0.05)
    assert tree.statistics().n_written == 0
    leave(tree, text(2 * P, seed=1))
    eventually(lambda: tree.statistics().n_written == 6)


# The limits


def test_the_limit_of_the_disk_is_kept_and_the_least_recently_used_goes(tmp_path):
    tree = tree_on_disk(tmp_path, 10, 12)
    for seed in range(4):
        leave(tree, text(5 * P, seed))
        send_to_disk(tree)
    assert tree.file.n_taken <= 12
    assert [found(tree, text(5 * P, seed)) // P for seed in range(4)] == [0, 2, 5, 5]
    assert tree.statistics().disk_bytes <= 12 * PLACE_BYTES


def test_who_has_come_back_gives_its_place_before_anything_is_lost(tmp_path):
    tree = tree_on_disk(tmp_path, 10, 10, OnDemand)
    for seed in range(2):
        leave(tree, text(5 * P, seed))
        tree.writer.write_all()
        send_to_disk(tree)
    held = Sequence(tree)
    assert held.adopt(text(5 * P, seed=0)) == 5 * P
    leave(tree, text(5 * P, seed=2))
    tree.writer.write_all()
    counts = tree.statistics()
    assert (counts.n_written, counts.n_on_disk, counts.n_reclaimed) == (15, 5, 0)
    assert tree.pool.n_idle_written == 5


def test_a_pool_that_others_hold_gives_what_it_can(tree):
    leave(tree, text(6 * P))
    send_to_disk(tree)
    other = Sequence(tree)
    evaluate(other, text(7 * P, seed=1))
    sequence = Sequence(tree)
    assert sequence.adopt(text(6 * P)) == 3 * P
    assert_holds_its_tokens(sequence)
    sequence.release()
    other.release()
    assert found(tree, text(6 * P)) == 6 * P


def test_a_full_disk_is_a_limit_too(tree, monkeypatch):
    monkeypatch.setattr(page_file, "ROOM_LEFT", 1 << 60)
    leave(tree, text(6 * P))
    send_to_disk(tree)
    assert found(tree, text(6 * P)) == 0
    assert tree.statistics().disk_problem == ""
