"""Which tokens of latent attention meet the cache's rows expanded: long runs of a sequence, in the end."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops.expanded_attention.sizes import LatentSizes
from glmq_kernels.ops.expanded_attention.work_list import (
    LEAST_TOKENS,
    expanded_is_cheaper,
    expanded_work,
    longest_item,
)
from hypothesis import given, settings
from hypothesis import strategies as st

FLASH = LatentSizes(n_heads=20, kv_rank=512, nope_dim=192, rope_dim=64, value_dim=256)

segments = st.lists(
    st.tuples(st.integers(1, 700), st.integers(0, 20_000)), min_size=1, max_size=5
)  # tokens, position


def batch_of(segments):
    """Positions and page tables of a batch."""
    positions = np.concatenate([np.arange(position, position + n) for n, position in segments])
    return positions, np.repeat(np.arange(len(segments)), [n for n, _ in segments])


@settings(deadline=None)
@given(segments=segments, n_threads=st.integers(1, 64))
def test_items_hold_the_last_tokens_once_each_of_one_sequence(segments, n_threads):
    positions, tables = batch_of(segments)
    items = expanded_work(FLASH, positions, tables, 0, n_threads)
    tokens = sorted(t for first, last in items.tolist() for t in range(first, last))
    assert tokens == list(range(len(positions) - len(tokens), len(positions)))
    for first, last in items.tolist():
        assert len(set(tables[first:last])) == 1
        assert last - first <= longest_item(len(positions), n_threads, FLASH.n_heads)


@settings(deadline=None)
@given(segments=segments, n_rows=st.integers(0, 3))
def test_only_sequences_of_panels_that_are_cheaper_so_are_expanded(segments, n_rows):
    n_rows = sum(n for n, _ in segments[:n_rows])
    positions, tables = batch_of(segments)
    items = expanded_work(FLASH, positions, tables, n_rows, 2)
    expanded = {int(tables[first]) for first, _ in items.tolist()}
    wanted, at = set(), len(positions)
    for number, (n, position) in reversed(list(enumerate(segments))):
        at -= n
        if at < n_rows or not expanded_is_cheaper(FLASH, n, position):
            break
        wanted.add(number)
    assert expanded == wanted


@pytest.mark.parametrize("position", (0, 1000, 100_000))
def test_few_tokens_are_absorbed_and_many_expanded(position):
    assert not expanded_is_cheaper(FLASH, LEAST_TOKENS - 1, position)
    assert expanded_is_cheaper(FLASH, 512, position)
    cheaper = [expanded_is_cheaper(FLASH, n, position) for n in range(1, 600)]
    assert cheaper == sorted(cheaper), "from some number on"


def test_more_threads_than_heads_have_work_each():
    positions, tables = batch_of([(2048, 0)])
    assert len(expanded_work(FLASH, positions, tables, 0, 2)) == 1
    assert len(expanded_work(FLASH, positions, tables, 0, 60)) * FLASH.n_heads >= 60
