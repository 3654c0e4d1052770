"""The work list of attention: it holds everything once, in an order that keeps all threads busy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.attention.plan import CUT, AttentionPlanner, Segment, segments
from glmq_kernels.ops.attention.work_list import MOST_PARTS, PARTIAL_SLOTS, SMALLEST_PART, part_positions
from hypothesis import given, settings
from hypothesis import strategies as st

AIR = CacheShape(n_layers=1, n_kv_heads=8, key_dim=128, value_dim=128)
FLASH = CacheShape(n_layers=1, n_kv_heads=1, key_dim=576, value_dim=512, values_in_keys=True)
HEADS = {AIR: 96, FLASH: 20}


def planner(shape, n_threads):
    return AttentionPlanner(shape, HEADS[shape], n_threads)


def batch_of(pairs):
    """A batch of segments, given as (tokens, position) of each."""
    positions = np.concatenate([np.arange(position, position + n) for n, position in pairs])
    tables = np.repeat(np.arange(len(pairs)), [n for n, _ in pairs])
    return segments(positions, tables)


def cost(item, batch, heads):
    """Rows times positions of an item of one kv head."""
    first, last, first_part, last_part = item
    token = (last - 1) // heads
    segment = next(s for s in batch if s.first <= token < s.first + s.n_tokens)
    n_positions = segment.position + token - segment.first + 1
    size = part_positions(n_positions)
    return (last - first) * (min(last_part * size, n_positions) - first_part * size)


batches = st.lists(
    st.tuples(st.integers(1, 12), st.one_of(st.integers(0, 3000), st.integers(0, 200_000))),
    min_size=1,
    max_size=10,
)


@settings(deadline=None)
@given(pairs=batches, n_threads=st.integers(1, 64), shape=st.sampled_from((AIR, FLASH)))
def test_every_row_meets_each_part_of_its_positions_once(pairs, n_threads, shape):
    batch = batch_of(pairs)
    each, heads = planner(shape, n_threads), HEADS[shape] // shape.n_kv_heads
    items, slots = each.work_list(batch)
    met, n_items = {}, Counter()
    for first, last, first_part, last_part in items.tolist():
        n_items.update(range(first, last))
        for row in range(first, last):
            met.setdefault(row, []).extend(range(first_part, last_part))
    positions = [p for s in batch for p in range(s.position, s.position + s.n_tokens)]
    assert sorted(met) == list(range(heads * len(positions)))
    for row, parts in met.items():
        n_positions = positions[row // heads] + 1
        wanted = -(-n_positions // part_positions(n_positions))
        assert len(parts) == len(set(parts))
        assert set(range(wanted)) <= set(parts), "parts behind a row's own are seen by others of its item"
        if slots[row // heads] < 0:
            assert n_items[row] == 1


@settings(deadline=None)
@given(pairs=batches, n_threads=st.integers(1, 64), shape=st.sampled_from((AIR, FLASH)))
def test_partial_results_have_room_of_their_own(pairs, n_threads, shape):
    batch = batch_of(pairs)
    _, slots = planner(shape, n_threads).work_list(batch)
    positions = [p for s in batch for p in range(s.position, s.position + s.n_tokens)]
    taken = []
    for slot, position in zip(slots.tolist(), positions, strict=True):
        if slot >= 0:
            taken += range(slot, slot + -(-(position + 1) // part_positions(position + 1)))
    assert len(taken) == len(set(taken))
    assert all(slot < PARTIAL_SLOTS for slot in taken)


@pytest.mark.parametrize("n_threads", (2, 3, 8, 16, 64))
@pytest.mark.parametrize("pairs", ([(1, 16_000)], [(1, 60_000), *[(1, 900)] * 7], [(4, 16_000)]), ids=str)
@pytest.mark.parametrize("shape", (AIR, FLASH), ids=("Air", "Flash"))
def test_no_thread_works_much_longer_than_others(shape, pairs, n_threads):
    """Threads that take units as they get free end within the largest unit of each other."""
    batch, heads = batch_of(pairs), HEADS[shape] // shape.n_kv_heads
    items, _ = planner(shape, n_threads).work_list(batch)
    units = [cost(item, batch, heads) for item in items.tolist()] * shape.n_kv_heads
    part = max(SMALLEST_PART, part_positions(max(position for _, position in pairs))) * max(
        last - first for first, last, *_ in items.tolist()
    )
    share = sum(units) / n_threads
    even = len(set(units)) == 1 and len(units) % n_threads == 0
    assert even or max(units) <= max(share / CUT + part, part)


def test_one_long_sequence_is_not_cut_where_its_heads_come_out_even():
    items, slots = planner(AIR, 2).work_list([Segment(0, 1, 16_000)])
    assert items.tolist() == [[0, 12, 0, 32]]
    assert slots.tolist() == [-1]


def test_the_longest_come_first():
    items, _ = planner(AIR, 2).work_list(batch_of([(1, 10), (1, 4000), (1, 2000), (100, 0)]))
    decoded = [item for item in items.tolist() if item[0] < 36]
    assert [first // 12 for first, *_ in decoded] == [1, 2, 0]


def test_segments_end_where_the_sequence_changes_or_parts_get_longer():
    longest = SMALLEST_PART * MOST_PARTS
    found = batch_of([(1, 5), (1, 6), (3, 0), (4, longest - 2)])
    assert found == [
        Segment(0, 1, 5),
        Segment(1, 1, 6),
        Segment(2, 3, 0),
        Segment(5, 2, longest - 2),
        Segment(7, 2, longest),
    ]
