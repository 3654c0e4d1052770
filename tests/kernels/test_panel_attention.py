"""Attention of prompts, whose keys and values become panels of int16."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops.panel_attention.work_list import (
    LEAST_ROWS,
    LEAST_TOKENS,
    item_tokens,
    panel_work,
    panels_pay,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .attention_runs import TOLERANCE, Attention, Case, Sequence, check

APART = Case(n_heads=15, n_kv_heads=1, key_dim=48, value_dim=80)


def in_panels(thread_pool, case, max_tokens):
    return Attention(thread_pool, case, max_tokens, in_panels=True)


def compare(thread_pool, case, batches):
    sequence, kernels = Sequence(case, 1, sum(batches)), in_panels(thread_pool, case, max(batches))
    found = np.concatenate([kernels((sequence, n))[0] for n in batches])
    tolerance = TOLERANCE[case.cache_type]
    np.testing.assert_allclose(found, sequence.expected(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("batches", ([70, 1, 64], [5, 4, 130, 9]), ids=str)
def test_prompts_of_any_length(thread_pool, batches):
    compare(thread_pool, APART, batches)


def test_on_any_processor(thread_pool, any_isa):
    case = Case(n_heads=24, n_kv_heads=2, cache_type="Q8_0")
    if not panels_pay(case.shape, 12):
        pytest.skip("floats are as fast here")
    compare(thread_pool, case, [33, 50])


def test_four_bits(thread_pool):
    case = Case(n_heads=15, n_kv_heads=1, key_dim=48, value_dim=80, cache_type="Q4_0")
    sequence = Sequence(case, 1, 90)
    found = in_panels(thread_pool, case, 90)((sequence, 90))[0]
    check(found, sequence.expected(), "Q4_0")


def test_keys_and_values_of_any_size(thread_pool):
    """Of a thousand and of a thousandth, and a head whose keys and values are 0."""
    case = Case(n_heads=15, n_kv_heads=1, key_dim=48, value_dim=80)
    for factor in (1000.0, 0.001, 0.0):
        sequence = Sequence(case, 2, 80)
        sequence.q /= max(factor, 0.01)
        sequence.k *= factor
        sequence.v *= factor
        found = in_panels(thread_pool, case, 80)((sequence, 80))[0]
        np.testing.assert_allclose(found, sequence.expected(), atol=2e-3 * factor, rtol=2e-3)


def test_tokens_of_the_row_form_do_not_take_panels(thread_pool):
    """They are the same bits beside a prompt that does."""
    first, second = Sequence(APART, 3, 30), Sequence(APART, 4, 30)
    beside = in_panels(thread_pool, APART, 60)((first, 30), (second, 30), n_row_tokens=30)
    alone = Attention(thread_pool, APART, 30)((Sequence(APART, 3, 30), 30))
    np.testing.assert_array_equal(beside[0], alone[0])
    np.testing.assert_allclose(beside[1], second.expected(), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", ("q", "k", "v"))
def test_what_is_not_finite_shows(thread_pool, name):
    sequence = Sequence(APART, 5, 70)
    getattr(sequence, name)[10, 3] = np.nan
    found = in_panels(thread_pool, APART, 70)((sequence, 70))[0]
    spoilt = np.isnan(found).any(axis=1)
    assert spoilt[10]
    assert not spoilt[:10].any()
    assert spoilt[11:].all() == (name != "q")


def test_an_exact_cache_stays_exact():
    exact, half = (Case(cache_type=kind).shape for kind in ("F32", "F16"))
    assert panels_pay(half, 2)
    assert not panels_pay(exact, 2)


segments = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 5000)), min_size=1, max_size=5)


@settings(deadline=None)
@given(
    segments=segments, heads=st.integers(1, 24), n_kv_heads=st.integers(1, 8), n_threads=st.integers(1, 64)
)
def test_items_hold_the_last_tokens_once_each_of_one_sequence(segments, heads, n_kv_heads, n_threads):
    positions = np.concatenate([np.arange(position, position + n) for n, position in segments])
    tables = np.repeat(np.arange(len(segments)), [n for n, _ in segments])
    items = panel_work(heads, n_kv_heads, positions, tables, 0, n_threads)
    tokens = sorted(t for first, last in items.tolist() for t in range(first, last))
    assert tokens == list(range(len(positions) - len(tokens), len(positions)))
    for first, last in items.tolist():
        assert len(set(tables[first:last])) == 1
        assert 0 < last - first <= item_tokens(heads)
    if len(items):
        assert len(items) * n_kv_heads >= n_threads
        least = min(np.bincount(tables[len(positions) - len(tokens) :])[tables[-1] :])
        assert least >= LEAST_TOKENS
        assert least * heads >= LEAST_ROWS
