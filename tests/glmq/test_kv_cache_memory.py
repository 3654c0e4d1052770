"""The memory of the KV cache: how much it takes, when, and how its pages lie in it."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops.attention.cache_layout import CacheShape

from glmq.errors import ContextFull, OutOfPages
from glmq.kv_cache import page_pool
from glmq.kv_cache.page_pool import PagePool
from glmq.kv_cache.prefix_tree import PrefixTree
from glmq.kv_cache.sequence import Sequence
from glmq.system_memory import resident_memory

from .numbered_pages import PAGE_BYTES, SHAPE, P, assert_holds_its_tokens, evaluated, text


def test_rows_of_prediction_that_nobody_writes_are_zeros_and_not_those_of_another_text():
    shape = CacheShape(n_layers=3, n_kv_heads=2, key_dim=32, value_dim=32, n_prediction_layers=1)
    pool = PagePool(shape, shape.page_bytes)
    with pool.lock:
        page = pool.take()
        page.bytes[:] = 7
        pool.drop(page)
        again = pool.take()
    assert not again.bytes[shape.trunk.page_bytes :].any()


def test_a_sequence_that_may_grow_takes_the_memory_of_what_it_holds():
    shape = CacheShape(n_layers=4, n_kv_heads=8, key_dim=128, value_dim=128)
    pool = PagePool(shape, shape.n_bytes(131_072))
    before = resident_memory()
    sequence = Sequence(PrefixTree(pool))
    sequence.reserve(1000)
    for page in sequence.pages:
        page.bytes[:] = 1
    most = page_pool.CHUNK_BYTES + shape.n_bytes(1000)
    assert pool.n_bytes <= most
    if before is not None:
        assert resident_memory() - before < 1.5 * most
    sequence.rewind(0)
    assert pool.n_bytes == 0
    if before is not None:
        assert resident_memory() - before < most / 4


@pytest.mark.parametrize("chunk", (1, 3 * PAGE_BYTES, 1 << 30))
def test_the_memory_taken_never_exceeds_the_limit(monkeypatch, chunk):
    monkeypatch.setattr(page_pool, "CHUNK_BYTES", chunk)
    pool = PagePool(SHAPE, 10 * PAGE_BYTES + 5)
    tree = PrefixTree(pool)
    sequence = Sequence(tree)
    for n_pages in range(1, 11):
        sequence.reserve(n_pages * P)
        assert n_pages * PAGE_BYTES <= pool.n_bytes <= 10 * PAGE_BYTES
    with pytest.raises(OutOfPages, match="all .* of the KV cache are in use; end other answers"):
        Sequence(tree).reserve(1)
    with pytest.raises(ContextFull, match="641 tokens do not fit into the KV cache, .* memory for 640; give"):
        sequence.reserve(10 * P + 1)


def available(monkeypatch, *amounts):
    """The system has these amounts of memory free, one after another, and nothing afterwards."""
    left = iter(amounts)
    monkeypatch.setattr(page_pool, "available_memory", lambda: next(left, 0))


def test_memory_that_others_have_taken_since_is_not_taken(monkeypatch):
    monkeypatch.setattr(page_pool, "CHUNK_BYTES", 0)
    pool = PagePool(SHAPE, 10 * PAGE_BYTES)
    available(monkeypatch, page_pool.LEFT_TO_SYSTEM + PAGE_BYTES - 1)
    with pytest.raises(OutOfPages, match="the system gives no more memory for the KV cache"):
        Sequence(PrefixTree(pool)).reserve(1)
    assert pool.n_bytes == 0


def test_where_the_system_has_no_more_what_nobody_uses_goes(monkeypatch):
    monkeypatch.setattr(page_pool, "CHUNK_BYTES", 0)
    pool = PagePool(SHAPE, 10 * PAGE_BYTES)
    tree = PrefixTree(pool)
    evaluated(tree, text(3 * P)).release()
    available(monkeypatch)
    pool._granted = 0
    sequence = evaluated(tree, text(2 * P, seed=1))
    assert_holds_its_tokens(sequence)
    assert pool.n_taken == 3


def test_the_system_is_asked_again_when_a_part_of_what_it_had_is_taken(monkeypatch):
    monkeypatch.setattr(page_pool, "CHUNK_BYTES", 0)
    monkeypatch.setattr(page_pool, "LEFT_TO_SYSTEM", 0)
    pool = PagePool(SHAPE, 10 * PAGE_BYTES)
    available(monkeypatch, 3 * 8 * PAGE_BYTES)
    sequence = Sequence(PrefixTree(pool))
    sequence.reserve(4 * P)
    with pytest.raises(OutOfPages):
        sequence.reserve(5 * P)
    assert pool.n_taken == 4


def test_a_page_is_aligned_and_ends_before_the_next():
    shape = CacheShape(n_layers=1, n_kv_heads=1, key_dim=16, value_dim=16, type="Q8_0")
    sequence = Sequence(PrefixTree(PagePool(shape, 100 * shape.page_bytes)))
    sequence.reserve(5 * P)
    addresses = sorted(page.address for page in sequence.pages)
    assert all(address % 64 == 0 for address in addresses)
    assert (np.diff(addresses) >= shape.page_bytes).all()


def test_a_guarded_page_is_an_allocation_of_its_own(monkeypatch):
    monkeypatch.setenv("GLMQ_GUARD_PAGES", "1")
    pool = PagePool(SHAPE, 10 * PAGE_BYTES)
    sequence = Sequence(PrefixTree(pool))
    sequence.reserve(3 * P)
    assert pool.n_bytes == 3 * PAGE_BYTES
    assert all((page.address + PAGE_BYTES) % 4096 == 0 for page in sequence.pages)
