"""Runs that mix tokens of several sequences give each what it gets alone, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.threads.thread_pool import ThreadPool
from hypothesis import given, settings
from hypothesis import strategies as st

from .attention_runs import Attention, Case, Sequence, check

CASES = {
    "twelve heads of one": Case(n_heads=24, n_kv_heads=2, key_dim=16, value_dim=16),
    "values wider than keys, eight bits": Case(
        n_heads=3, n_kv_heads=1, key_dim=48, value_dim=80, cache_type="Q8_0"
    ),
    "values in keys": Case(
        n_heads=5, n_kv_heads=1, key_dim=96, value_dim=64, in_keys=True, rotated_from=64, interleaved=True
    ),
    "floats": Case(n_heads=2, n_kv_heads=2, key_dim=32, value_dim=32, cache_type="F32"),
}
THREADS = (1, 2, 3, 8)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def pools():
    """Thread pools by their number of threads."""
    found = {n: ThreadPool(n) for n in THREADS}
    yield found
    for pool in found.values():
        pool.close()


@pytest.fixture(scope="module")
def kernels(case, pools):
    """The kernels by the number of threads that run them."""
    return {n: Attention(pool, case, 160) for n, pool in pools.items()}


def alone(kernels, case, seed, n_positions):
    """A sequence's outputs, evaluated by itself in a few runs by one thread."""
    sequence = Sequence(case, seed, n_positions)
    return run_alone(kernels[1], sequence, 100)


def run_alone(attention, sequence, size):
    n = len(sequence.q)
    return np.concatenate([attention((sequence, min(size, n - at)))[0] for at in range(0, n, size)])


@st.composite
def mixes(draw):
    """Lengths of sequences, and runs: of some sequences, the next so many tokens of each, in any order."""
    lengths = draw(st.lists(st.integers(1, 150), min_size=1, max_size=4))
    left, runs = dict(enumerate(lengths)), []
    while left:
        chosen = draw(st.lists(st.sampled_from(sorted(left)), min_size=1, unique=True))
        parts = [(i, draw(st.one_of(st.just(1), st.integers(1, 40)))) for i in chosen]
        runs.append([(i, min(count, left[i])) for i, count in parts])
        for i, count in runs[-1]:
            left[i] -= count
            if not left[i]:
                del left[i]
    return lengths, runs


@settings(max_examples=25, deadline=None)
@given(mix=mixes(), threads=st.sampled_from(THREADS))
def test_a_mix_gives_each_sequence_what_it_gets_alone(kernels, case, mix, threads):
    lengths, runs = mix
    sequences = [Sequence(case, seed, n) for seed, n in enumerate(lengths)]
    found = [[] for _ in lengths]
    for run in runs:
        outputs = kernels[threads](*((sequences[i], count) for i, count in run))
        for (i, _), rows in zip(run, outputs, strict=True):
            found[i].append(rows)
    for seed, (n, rows) in enumerate(zip(lengths, found, strict=True)):
        rows = np.concatenate(rows)
        np.testing.assert_array_equal(rows, alone(kernels, case, seed, n))
        check(rows, sequences[seed].expected(), case.cache_type)


@pytest.mark.parametrize("threads", THREADS)
def test_a_long_sequence_is_cut_over_threads_without_a_trace(kernels, case, threads):
    """Its last tokens see three parts of 512 positions, which several threads share."""
    n = 1100
    expected = alone(kernels, case, 0, n)
    long, short = Sequence(case, 0, n), Sequence(case, 1, 50)
    kernels[threads]((short, 49))
    found = [run_of(kernels[threads], long, 150) for _ in range(7)]
    for count in [1] * 20 + [3, 8, 1, 5]:
        found.append(kernels[threads]((long, count))[0])
    decoded, beside = kernels[threads]((long, 1), (short, 1))
    found += [decoded, *(kernels[threads]((long, 1))[0] for _ in range(n - long.length))]
    np.testing.assert_array_equal(np.concatenate(found), expected)
    np.testing.assert_array_equal(beside[0], alone(kernels, case, 1, 50)[-1])


def run_of(attention, sequence, count):
    return attention((sequence, count))[0]


def test_parts_grow_where_a_sequence_does(pools):
    """Position 16384 is the first to see parts of 1024 positions; a draft may lie across it."""
    case = Case(n_heads=2, n_kv_heads=1, key_dim=16, value_dim=16, cache_type="F32")
    n, before = 16390, 16380
    found = []
    for threads, sizes in ((3, [10]), (1, [1] * 10), (8, [3, 7])):
        attention, sequence = Attention(pools[threads], case, before), Sequence(case, 0, n)
        attention((sequence, before))
        found.append(np.concatenate([attention((sequence, size))[0] for size in sizes]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(found[0], sequence.expected(first=before), atol=2e-5, rtol=2e-5)
