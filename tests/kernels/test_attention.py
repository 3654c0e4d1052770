"""Rotation, the KV cache and attention, against the same in plain float64."""

from __future__ import annotations

import numpy as np
import pytest

from .attention_runs import TOLERANCE, Attention, Case, Sequence, check


def compare(thread_pool, batches, *, head_dim=None, **sizes):
    if head_dim is not None:
        sizes |= {"key_dim": head_dim, "value_dim": head_dim}
    case = Case(**sizes)
    sequence = Sequence(case, case.n_heads, sum(batches))
    kernels = Attention(thread_pool, case, max(batches))
    found = np.concatenate([kernels((sequence, n))[0] for n in batches])
    if "Q4" in case.cache_type:
        check(found, sequence.expected(), case.cache_type)
        return
    tolerance = TOLERANCE[case.cache_type]
    np.testing.assert_allclose(found, sequence.expected(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("batches", ([1] * 20, [17, 1, 1, 3], [70, 1], [5, 64, 1, 2]))
def test_prompts_and_single_tokens(thread_pool, any_isa, batches):
    compare(thread_pool, batches)


@pytest.mark.parametrize("batches", ([1] * 20, [70, 1, 3]))
@pytest.mark.parametrize("head_dim", (32, 80, 128))
def test_a_cache_of_eight_bits(thread_pool, any_isa, batches, head_dim):
    compare(thread_pool, batches, head_dim=head_dim, cache_type="Q8_0")


def test_a_cache_of_four_bits(thread_pool, any_isa):
    compare(thread_pool, [70, 1, 3], head_dim=80, cache_type="Q4_0")


@pytest.mark.parametrize("cache_type", ("Q8_0/Q4_0", pytest.param("F16/Q4_0", marks=pytest.mark.slow)))
def test_keys_and_values_have_types_of_their_own(thread_pool, cache_type):
    compare(thread_pool, [70, 1], head_dim=32, cache_type=cache_type)


@pytest.mark.parametrize("heads", ((1, 1), (3, 1), (9, 3), (12, 1), (24, 1), (8, 8), (96, 8)))
def test_any_number_of_query_heads_per_key(thread_pool, heads):
    compare(thread_pool, [19, 1, 2], n_heads=heads[0], n_kv_heads=heads[1], head_dim=16)


@pytest.mark.parametrize("head_dim", (16, 48, 80, 128))
@pytest.mark.parametrize("norms", (False, True))
def test_any_head_size_with_and_without_norms(thread_pool, head_dim, norms):
    compare(thread_pool, [6, 1, 4], head_dim=head_dim, n_rotated=head_dim, norms=norms)


def test_neighbouring_pairs_rotate_for_llama(thread_pool):
    compare(thread_pool, [5, 1], interleaved=True, n_rotated=32)


@pytest.mark.parametrize("n_heads", (3, 9))
def test_long_contexts_are_split_over_the_threads(thread_pool, n_heads):
    compare(thread_pool, [300, 1, 1, 3], n_heads=n_heads, n_kv_heads=n_heads // 3, head_dim=16, n_rotated=16)


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0", "F32"))
@pytest.mark.parametrize("widths", ((96, 64), (48, 80)), ids=str)
def test_keys_and_values_have_widths_of_their_own(thread_pool, widths, cache_type):
    compare(thread_pool, [37, 1, 2], key_dim=widths[0], value_dim=widths[1], cache_type=cache_type)


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0", "F32"))
@pytest.mark.parametrize("heads", (3, 8))
def test_values_may_be_the_beginning_of_keys(thread_pool, any_isa, heads, cache_type):
    compare(
        thread_pool, [69, 1, 2], n_heads=heads, n_kv_heads=1, key_dim=96, value_dim=64, in_keys=True,
        cache_type=cache_type, n_rotated=32, rotated_from=64, interleaved=True,
    )  # fmt: skip


def test_values_of_four_bits_may_be_the_beginning_of_keys(thread_pool):
    compare(
        thread_pool, [69, 1], n_heads=8, n_kv_heads=1, key_dim=96, value_dim=64, in_keys=True,
        cache_type="Q4_0", n_rotated=32, rotated_from=64, interleaved=True,
    )  # fmt: skip


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0"))
def test_latent_attention_of_glm_4_7_flash(thread_pool, cache_type):
    compare(
        thread_pool, [70, 1, 3], n_heads=20, n_kv_heads=1, key_dim=576, value_dim=512, in_keys=True,
        cache_type=cache_type, n_rotated=64, rotated_from=512, interleaved=True,
    )  # fmt: skip


def test_several_kv_heads_may_hold_values_in_keys(thread_pool):
    compare(thread_pool, [40, 1], n_heads=6, n_kv_heads=2, key_dim=48, value_dim=16, in_keys=True)


@pytest.mark.parametrize("batches", ([1] * 20, [70, 1, 3]))
@pytest.mark.parametrize("head_dim", (32, 80))
def test_a_cache_of_floats(thread_pool, any_isa, batches, head_dim):
    compare(thread_pool, batches, head_dim=head_dim, cache_type="F32")


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0", "F32"))
@pytest.mark.parametrize("interleaved", (True, False))
def test_norms_take_the_part_of_a_row_that_is_not_rotated(thread_pool, any_isa, interleaved, cache_type):
    """As of latent attention, whose compressed part alone is normed."""
    compare(
        thread_pool, [21, 1, 2], n_heads=4, n_kv_heads=1, key_dim=80, value_dim=64, in_keys=True, norms=True,
        n_normed=64, rotated_from=64, n_rotated=16, interleaved=interleaved, cache_type=cache_type,
    )  # fmt: skip


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0"))
def test_twelve_query_heads_of_air_over_parts(thread_pool, cache_type):
    compare(thread_pool, [600, 1, 3], n_heads=12, n_kv_heads=1, head_dim=128, cache_type=cache_type)


def test_eight_bits_give_the_same_beside_later_tokens(thread_pool):
    case = Case(n_heads=6, n_kv_heads=1, key_dim=32, value_dim=64, cache_type="Q8_0")
    together = Attention(thread_pool, case, 4)((Sequence(case, 7, 4), 4))[0]
    sequence, alone = Sequence(case, 7, 4), Attention(thread_pool, case, 4)
    np.testing.assert_array_equal(np.concatenate([alone((sequence, 1))[0] for _ in range(4)]), together)


@pytest.mark.parametrize("value", (np.nan, np.inf))
@pytest.mark.parametrize("name", ("k", "v"))
@pytest.mark.parametrize("cache_type", ("F16", "Q8_0"))
def test_what_is_not_finite_shows_from_its_position_on(thread_pool, cache_type, name, value):
    """And reaches no token before it, not even one that is worked out beside it."""
    case = Case(n_heads=12, n_kv_heads=1, key_dim=128, value_dim=128, cache_type=cache_type)
    check_spoilt(thread_pool, case, name, value, 40)


@pytest.mark.parametrize("column", (40, 90))
def test_what_is_not_finite_of_values_in_keys_shows_from_its_position_on(thread_pool, column):
    case = Case(
        n_heads=8, n_kv_heads=1, key_dim=96, value_dim=64, in_keys=True, n_rotated=32, rotated_from=64,
        interleaved=True,
    )  # fmt: skip
    check_spoilt(thread_pool, case, "k", np.nan, column)


def check_spoilt(thread_pool, case, name, value, column):
    sequence = Sequence(case, 5, 70)
    getattr(sequence, name)[65, column] = value
    found = Attention(thread_pool, case, 70)((sequence, 70))[0]
    spoilt = np.isnan(found).any(axis=1)
    assert spoilt[65:].all()
    assert not spoilt[:65].any()
