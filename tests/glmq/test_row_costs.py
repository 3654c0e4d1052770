"""What steps cost by their tokens, between and beyond those that were measured."""

from __future__ import annotations

import pytest

from glmq.scheduling.row_costs import FURTHER, MOST_ROWS, RowCosts


def costs_of(**seconds):
    costs = RowCosts()
    for name, value in seconds.items():
        costs.observe(int(name.removeprefix("n")), value)
    return costs


def test_nothing_is_known_before_a_measurement():
    assert RowCosts().estimate(1) is None
    assert RowCosts().estimate(0) == 0.0


def test_between_two_numbers_it_is_on_their_line_and_beyond_them_on_it_too():
    costs = costs_of(n1=1.0, n5=3.0)
    assert [costs.estimate(n) for n in (1, 2, 3, 5, 7)] == pytest.approx([1.0, 1.5, 2.0, 3.0, 4.0])


def test_from_one_number_others_are_assumed():
    assert costs_of(n1=1.0).estimate(3) == pytest.approx(1 + 2 * FURTHER)
    assert costs_of(n3=1.8).estimate(1) == pytest.approx(1.8 / (1 + 2 * FURTHER))
    assert costs_of(n3=1.8).estimate(5) == pytest.approx(1.8 + 2 * FURTHER)


def test_larger_steps_are_never_cheaper_beyond_what_was_measured():
    assert costs_of(n1=1.0, n2=0.9).estimate(4) == pytest.approx(0.9)


def test_a_slow_step_counts_little_and_a_first_one_is_forgotten():
    costs = costs_of(n1=9.0)
    costs.observe(1, 1.0)
    assert costs.estimate(1) == 1.0
    for _ in range(20):
        costs.observe(1, 1.0)
    costs.observe(1, 50.0)
    assert costs.estimate(1) < 1.1
    for _ in range(60):
        costs.observe(1, 2.0)
    assert costs.estimate(1) == pytest.approx(2.0, rel=0.02)


def test_very_large_steps_count_in_proportion():
    costs = costs_of(n1=1.0)
    costs.observe(2 * MOST_ROWS, 20.0)
    assert costs.estimate(MOST_ROWS) == pytest.approx(10.0)
