"""The KV cache: pages from a pool, found by their tokens, shared and copied by sequences."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from glmq_kernels.ops.attention.cache_layout import CacheShape

from glmq.errors import OutOfPages
from glmq.kv_cache import page_pool
from glmq.kv_cache.page_copy import copy_positions
from glmq.kv_cache.page_pool import PagePool
from glmq.kv_cache.prefix_tree import PrefixTree
from glmq.kv_cache.sequence import Sequence
from glmq.kv_cache.tree_node import common_prefix

from .numbered_pages import (
    PAGE_BYTES,
    SHAPE,
    P,
    assert_holds_its_tokens,
    evaluate,
    evaluated,
    text,
    use_in_threads,
)


@pytest.fixture
def pool():
    return PagePool(SHAPE, 10 * PAGE_BYTES)


@pytest.fixture
def tree(pool):
    return PrefixTree(pool)


# What others have evaluated


@pytest.mark.parametrize("n_known", (1, 63, 64, 65, 200))
@pytest.mark.parametrize("n_shared", (0, 1, 20, 64, 100, 128, 200))
def test_the_longest_known_prefix_is_found_to_the_token(tree, n_known, n_shared):
    known = text(n_known)
    n_shared = min(n_shared, n_known)
    evaluated(tree, known).release()
    wanted = known[:n_shared] + text(150, seed=1)
    sequence = Sequence(tree)
    assert sequence.adopt(wanted) == n_shared
    assert_holds_its_tokens(sequence)
    evaluate(sequence, wanted[n_shared:])
    assert_holds_its_tokens(sequence)


def test_a_prefix_is_shared_by_reference(pool, tree):
    first = evaluated(tree, text(200))
    second = Sequence(tree)
    assert second.adopt(text(200)) == 192, "its full pages; the last one is still being written"
    assert list(second.pages) == list(first.pages[:3])
    assert pool.n_used == 4


def test_two_that_evaluate_the_same_at_the_same_time_end_with_one_copy(pool, tree):
    one, other = (evaluated(tree, text(200), publish=False) for _ in range(2))
    assert pool.n_used == 8
    one.publish()
    other.publish()
    assert pool.n_used == 5
    assert_holds_its_tokens(other)


def test_a_page_in_part_is_found_when_that_is_asked_for(tree):
    evaluating = evaluated(tree, text(100), publish=False)
    evaluating.publish(partly=True)
    sequence = Sequence(tree)
    assert sequence.adopt(text(150)) == 100
    for each, end in ((evaluating, 1), (sequence, 2)):
        evaluate(each, text(30, seed=end))
        assert_holds_its_tokens(each)
    assert_holds_its_tokens(sequence)
    assert_holds_its_tokens(evaluating)


def test_a_conversation_that_goes_on_leaves_one_copy_of_itself(pool, tree):
    tokens = []
    for turn in range(9):
        sequence = Sequence(tree)
        assert sequence.adopt([*tokens, *text(25, seed=turn)]) == len(tokens)
        evaluate(sequence, text(25, seed=turn))
        tokens = list(sequence.tokens)
        sequence.release()
    assert tree.statistics().n_cached == -(-len(tokens) // P)


def test_pages_that_differ_are_kept_apart_where_that_is_asked_for(tree):
    evaluated(tree, text(200))
    sequence = evaluated(tree, text(200), publish=False)
    sequence.pages[1].bytes[5] ^= 1
    own = list(sequence.pages)
    sequence.publish(exact=True)
    assert (own[0] is sequence.pages[0], own[1] is sequence.pages[1]) == (False, True)
    assert sequence.adopt(text(300)) == 200
    assert sequence.pages[1:4] == own[1:4]
    sequence.rewind(0)
    assert sequence.adopt(text(300)) == 192


def test_what_is_unpublished_is_not_found_again(tree):
    sequence = evaluated(tree, text(300))
    sequence.rewind(100, unpublish=True)
    assert Sequence(tree).adopt(text(300)) == 64
    evaluate(sequence, text(300)[100:])
    sequence.publish()
    assert Sequence(tree).adopt(text(300)) == 256


def test_hits_are_counted(tree):
    evaluated(tree, text(128))
    Sequence(tree).adopt(text(200))
    counts = tree.statistics()
    assert (counts.n_tokens, counts.n_hits) == (200, 128)


# What goes when there is no room


def test_what_was_used_least_recently_goes_first(tree):
    for i in range(5):
        evaluated(tree, text(2 * P, seed=i)).release()
    again = Sequence(tree)
    again.adopt(text(2 * P, seed=0))
    again.release()
    evaluated(tree, text(3 * P, seed=99))
    found = [Sequence(tree).adopt(text(2 * P, seed=i)) for i in range(5)]
    assert found == [2 * P, 0, P, 2 * P, 2 * P], "the end of a text before its beginning"
    assert tree.statistics().n_reclaimed == 3


def test_what_is_used_does_not_go(tree):
    used = evaluated(tree, text(6 * P))
    evaluated(tree, text(4 * P, seed=1)).release()
    sequence = Sequence(tree)
    with pytest.raises(OutOfPages):
        evaluate(sequence, text(5 * P, seed=2))
    assert (sequence.pages, sequence.tokens) == ([], [])
    evaluate(sequence, text(4 * P, seed=2))
    assert_holds_its_tokens(used)


def test_one_that_fills_the_whole_pool_can_be_rewound_and_go_on(pool, tree):
    sequence = evaluated(tree, text(10 * P))
    sequence.rewind(9 * P + 10)
    evaluate(sequence, text(50, seed=1))
    assert_holds_its_tokens(sequence)


def test_the_list_of_what_may_go_stays_short(tree):
    evaluated(tree, text(3 * P)).release()
    for _ in range(1000):
        sequence = Sequence(tree)
        sequence.adopt(text(3 * P))
        sequence.release()
    assert len(tree._unwritten_idle) < 100


def test_a_system_that_gives_no_memory_is_told_in_words(pool, tree, monkeypatch):
    def none_left(n_bytes):
        raise MemoryError

    monkeypatch.setattr(page_pool, "_memory", none_left)
    with pytest.raises(OutOfPages, match="the system gives no more memory for the KV cache"):
        Sequence(tree).reserve(1)
    assert (pool.n_used, pool.n_bytes) == (0, 0)


# Copies


@pytest.mark.parametrize("n", (0, 1, 15, 16, 17, 40, P))
@pytest.mark.parametrize(
    "shape",
    [CacheShape(3, 2, key_dim=48, value_dim=40, type=type) for type in ("F16", "Q8_0", "F32", "Q4_0/F16")]
    + [CacheShape(3, 1, key_dim=48, value_dim=40, type="Q8_0", values_in_keys=True)],
)
def test_the_first_positions_of_a_page_are_copied_and_nothing_else(shape, n):
    """As `ops/attention/rows.py` draws it: keys in blocks of 16 positions, values in rows."""
    chance = np.random.default_rng(0)
    source, target = (chance.integers(0, 256, shape.page_bytes, np.uint8) for _ in range(2))
    expected = target.copy()
    old, new = (page.reshape(6 if shape.n_kv_heads == 2 else 3, -1) for page in (source, expected))
    key_bytes = P * shape.key_bytes
    parts = {
        "F32": [(0, 4 * 48, 4)], "F16": [(0, 2 * 48, 2)], "Q8_0": [(0, 48, 1), (48, 52, 2)],
        "Q4_0/F16": [(0, 32, 1), (32, 36, 2)],
    }[shape.type]  # fmt: skip
    for position in range(n):
        block, lane = 16 * shape.key_bytes * (position // 16), position % 16
        if shape.values_in_keys:
            here = slice(position * shape.key_bytes, (position + 1) * shape.key_bytes)
            new[:, here] = old[:, here]
            continue
        for first, end, size in parts:
            for at in range(block + 16 * first + lane * size, block + 16 * end, 16 * size):
                new[:, at : at + size] = old[:, at : at + size]
        here = slice(key_bytes + position * shape.value_bytes, key_bytes + (position + 1) * shape.value_bytes)
        new[:, here] = old[:, here]
    copy_positions(shape, source, target, n)
    np.testing.assert_array_equal(target, expected)


# Sequences


def test_a_fork_and_its_origin_go_on_apart(pool, tree):
    sequence = evaluated(tree, text(100), publish=False)
    other = sequence.fork()
    assert pool.n_used == 2
    evaluate(sequence, text(10, seed=1))
    evaluate(other, text(10, seed=2))
    assert pool.n_used == 3, "the full page is still shared"
    for each in (sequence, other):
        assert_holds_its_tokens(each)


def test_the_page_table_grows_with_the_sequence():
    pool = PagePool(SHAPE, 1000 * PAGE_BYTES)
    sequence = Sequence(PrefixTree(pool))
    for _ in range(40):
        evaluate(sequence, text(P + 1))
        assert_holds_its_tokens(sequence)


def test_new_pages_are_foretold(tree):
    sequence = evaluated(tree, text(100))
    other = sequence.fork()
    assert [other.n_new_pages(n) for n in (0, 1, 28, 29, 28 + P, 29 + P)] == [0, 1, 1, 2, 2, 3]


def test_a_sequence_that_nobody_has_any_more_gives_its_pages_back(pool, tree):
    sequence = evaluated(tree, text(200))
    with pool.lock:
        del sequence  # at a time when the pool is being changed
        gc.collect()
        assert pool.n_used == 4
    counts = tree.statistics()
    assert (counts.n_used, counts.n_idle) == (0, 3)


def test_rewinding_beyond_the_tokens_is_refused(tree):
    for n in (-1, 101):
        with pytest.raises(ValueError, match=f"cannot rewind 100 tokens to {n}"):
            evaluated(tree, text(100)).rewind(n)


def test_threads_with_sequences_of_their_own_share_a_pool():
    pool = PagePool(SHAPE, 40 * PAGE_BYTES)
    tree = PrefixTree(pool)
    use_in_threads(tree, n_rounds=150, most_pages=5, n_texts=3)
    counts = tree.statistics()
    assert counts.n_used == 0
    with pool.lock:
        tree.clear()
    assert pool.n_bytes == 0


@pytest.mark.parametrize(
    ("a", "b", "n"),
    [
        ([], [], 0),
        ([1], [], 0),
        ([1, 2], [1, 2], 2),
        ([1, 2], [1, 3], 1),
        ([1, 2], (1, 2, 3), 2),
        ([1], [2], 0),
    ],
)
def test_common_prefix(a, b, n):
    assert common_prefix(a, b) == common_prefix(b, a) == n
