"""What a step holds: decoding first, prompts in fair turns, short steps while others decode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glmq.scheduling.step_costs import SizeCosts, StepCosts
from glmq.scheduling.step_plan import LEAST_CHUNK, LONGEST_GAP, fair_shares, plan_step, prompt_budget

from .scripted_engine import ScriptedSequence, request


def requests(*lengths):
    return [request(ScriptedSequence(), n) for n in lengths]


def sizes(chunks):
    return [(chunk.n_tokens, chunk.in_rows) for chunk in chunks]


def plan(decoding, prompts, costs=None, max_tokens=512, keep_short=False, deterministic=False):
    return plan_step(
        decoding,
        prompts,
        costs or StepCosts(),
        max_tokens,
        keep_short=keep_short,
        deterministic=deterministic,
    )


def test_decoding_tokens_come_first_and_in_rows():
    assert sizes(plan(requests(1, 3, 1), requests(1000))) == [
        (1, True), (3, True), (1, True), (507, False),
    ]  # fmt: skip


def test_a_prompt_alone_takes_whole_batches():
    assert sizes(plan([], requests(1000))) == [(512, False)]


def test_prompts_share_a_batch_evenly_and_leave_what_they_do_not_need():
    assert sizes(plan([], requests(1000, 100, 1000))) == [(100, False), (206, False), (206, False)]


def test_few_tokens_of_prompts_take_rows():
    (chunk,) = plan([], requests(520), max_tokens=516)
    chunk.request.n_done = 516
    assert sizes(plan([], [chunk.request])) == [(4, True)]


def test_a_deterministic_plan_has_rows_alone():
    assert sizes(plan(requests(1), requests(1000), deterministic=True)) == [(1, True), (511, True)]


def test_more_decoding_tokens_than_a_batch_has_take_turns():
    assert sizes(plan(requests(*[1] * 20), requests(100), max_tokens=16)) == [(1, True)] * 16


@given(st.lists(st.integers(1, 3000), max_size=40), st.integers(0, 2048))
def test_shares_use_the_budget_as_far_as_it_is_wanted_and_never_more(wanted, budget):
    shares = fair_shares(wanted, budget)
    assert sum(shares) <= budget and all(0 <= n <= w for n, w in zip(shares, wanted, strict=True))
    served = max(1, budget // LEAST_CHUNK)
    assert sum(shares) == min(budget, sum(wanted[:served]))
    whole = [n for n, w in zip(shares[:served], wanted, strict=False) if n < w]
    assert not whole or max(whole) - min(whole) <= 1 or budget < 2 * LEAST_CHUNK or len(wanted) == 1


COSTS = {
    "fast": lambda n: 0.002 + n * 0.0001,
    "slow": lambda n: 0.3 + n * 0.02,
    "experts": lambda n: min(n, 64) * 0.015 + n * 0.002,
    "proportional": lambda n: n * 0.01,
}


@pytest.mark.parametrize("decode", (0.002, 0.05, 0.3, 1.0))
@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_budgets_learn_to_use_the_gap_and_to_keep_it(cost, decode):
    """After some steps the step is within the gap, or is the smallest; and no larger one would be too."""
    costs = StepCosts()
    costs.decode.observe(1, decode)
    for _ in range(12):
        n = prompt_budget(costs, 1, 512)
        costs.observe(1, n, decode + cost(n))
    n = prompt_budget(costs, 1, 512)
    gap = max(LONGEST_GAP, 6 * decode)
    assert decode + cost(n) <= gap or n == LEAST_CHUNK
    speed, alone = n / (decode + cost(n)), 512 / cost(512)
    fits_more = n < 512 and decode + cost(2 * n) <= 0.6 * gap
    assert speed >= alone / 2 or not fits_more


def test_a_cost_is_remembered_by_size_and_taken_in_proportion():
    costs = SizeCosts()
    assert costs.estimate(8) is None
    costs.observe(64, 1.0)
    assert costs.estimate(64) == 1.0
    assert costs.estimate(128) == pytest.approx(2.0)
    assert 0.5 < costs.estimate(32) < 1.0


def test_a_first_slow_run_is_forgotten_at_once_and_a_slow_one_later_counts_little():
    costs = SizeCosts()
    costs.observe(1, 100.0)
    costs.observe(1, 0.1)
    assert costs.estimate(1) == pytest.approx(0.1)
    costs.observe(1, 50.0)
    assert costs.estimate(1) < 0.2
