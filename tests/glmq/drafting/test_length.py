"""How many guesses are checked: by how often they come true and what that costs; often none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glmq.drafting.answer_drafting import AnswerDrafting, Experience
from glmq.drafting.length import Length, best_length, least_share
from glmq.drafting.success import AnswerSuccess, Success
from glmq.scheduling.request import ALONE
from glmq.scheduling.row_costs import RowCosts

from .known_answers import KnownAnswer


def proportional(n_rows):
    return float(n_rows)


def shared(n_rows):
    """A further token costs a quarter of the first."""
    return 0.75 + 0.25 * n_rows


def unknown(n_rows):
    return None


@pytest.mark.parametrize(
    ("shares", "seconds", "expected"),
    [
        ([0.99] * 7, shared, 7),
        ([0.9, 0.2, 0.2, 0.2], shared, 1),
        ([0.9] * 7, proportional, 0),
        ([0.2] * 7, shared, 0),
        ([0.9] * 7, unknown, 0),
        ([], shared, 0),
    ],
)
def test_the_number_that_promises_most(shares, seconds, expected):
    assert best_length(shares, seconds, 1).n == expected


def test_guesses_that_cost_time_are_worth_less():
    assert best_length([0.8] * 7, shared, 1, guess_seconds=0.2).n < best_length([0.8] * 7, shared, 1).n
    assert best_length([0.8] * 7, shared, 1, guess_seconds=1.0) == Length()


def test_the_gain_is_that_of_all_tokens_of_the_run():
    alone, beside = best_length([1.0], shared, 1), best_length([1.0], shared, 4)
    assert alone.gain == pytest.approx(2 / 1.25)
    assert beside.gain == pytest.approx(5 / 2.0 * 1.75 / 4)


def test_guesses_of_others_in_the_run_count_as_far_as_they_will_come_true():
    """Four rows beside it, of which three are guesses that nobody believes in."""
    all_come, one_comes = (best_length([0.9], shared, 5, progress=progress) for progress in (5.0, 2.0))
    assert all_come == best_length([0.9], shared, 5)
    assert one_comes.gain == pytest.approx(2.9 / 2 * shared(5) / shared(6))
    assert one_comes.gain > all_come.gain


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=7),
    st.lists(st.floats(0, 0.6), min_size=7, max_size=7),
    st.floats(0, 0.3),
    st.floats(1, 4),
)
def test_no_number_is_worth_it_where_the_first_guess_is_less_likely_than_the_least(
    shares, further, guess_seconds, progress
):
    def seconds(n_rows):
        return 1.0 + sum(further[: n_rows - 1])

    least = least_share(seconds, 1, guess_seconds, 7) * progress
    if best_length(shares, seconds, 1, guess_seconds, progress=progress).n:
        assert shares[0] >= least * (1 - 1e-9)


def test_the_least_share_is_no_larger_than_it_must_be():
    least = least_share(shared, 1, 0.0, 7)
    assert best_length([least + 0.001, *[1.0] * 6], shared, 1).n == 7
    assert least_share(unknown, 1, 0.0, 7) == math.inf


def test_an_answer_counts_its_own_guesses_most():
    of_all = Success()
    for _ in range(200):
        of_all.observe(("lookup", 3), True)
    answer, kind = AnswerSuccess(of_all), ("lookup", 3)
    assert answer.share(kind, 0.5) > 0.95
    for _ in range(20):
        answer.observe(kind, 0.5, False)
    assert answer.share(kind, 0.5) < 0.3
    assert answer.share(("lookup", 4), 0.5) < 0.2  # of other kinds less is expected then, too
    assert answer.share(("mtp", 0), 0.5) == 0.5
    assert AnswerSuccess(of_all).share(kind, 0.5) > 0.8
    assert AnswerSuccess(of_all).share(("lookup", 4), 0.5) == 0.5


def test_an_answer_behind_many_that_copied_shows_first_that_it_copies_too():
    of_all, kind = Success(), ("lookup", 3)
    for _ in range(200):
        of_all.observe(kind, True)
    answer = AnswerSuccess(of_all, doubted={"lookup"})
    assert answer.share(kind, 0.5) < 0.5
    assert answer.share(("mtp", 0), 0.85) == 0.85
    for _ in range(3):
        answer.observe(kind, 0.5, True)
    assert answer.share(kind, 0.5) > 0.85


def test_an_answer_behind_some_that_did_not_copy_is_doubted_more():
    of_all, kind = Success(), ("lookup", 3)
    for _ in range(200):
        of_all.observe(kind, True)
    first = AnswerSuccess(of_all, doubted={"lookup"}).share(kind, 0.5)
    for is_right in (False, False, False):
        answer = AnswerSuccess(of_all, doubted={"lookup"})
        for _ in range(3):
            answer.observe(kind, 0.5, is_right)
        answer.end()
    doubted = AnswerSuccess(of_all, doubted={"lookup"})
    assert doubted.share(kind, 0.5) < first / 2
    for _ in range(4):
        doubted.observe(kind, 0.5, True)
    assert doubted.share(kind, 0.5) > 0.8
    doubted.end()
    assert first / 2 < AnswerSuccess(of_all, doubted={"lookup"}).share(kind, 0.5) <= first


def test_an_answer_that_had_next_to_nothing_to_repeat_tells_nothing():
    of_all, kind = Success(), ("lookup", 3)
    before = AnswerSuccess(of_all, doubted={"lookup"}).share(kind, 0.5)
    answer = AnswerSuccess(of_all, doubted={"lookup"})
    answer.end()
    assert AnswerSuccess(of_all, doubted={"lookup"}).share(kind, 0.5) == before


def test_drafts_that_keep_less_than_they_promise_are_believed_less_for_a_while():
    of_all = Success()
    assert of_all.reliability("lookup") == 1.0
    for _ in range(40):
        of_all.checked("lookup", 1.0)
        of_all.checked("lookup", 0.5)
        of_all.accepted("lookup")
    found = of_all.reliability("lookup")
    assert 0.65 < found < 0.75
    for _ in range(40):
        of_all.end_answer("lookup", 0.5)
    assert of_all.reliability("lookup") > 0.95


class Priced:
    """Costs that a test sets."""

    def __init__(self, further):
        self.further = further

    def estimate(self, n_rows):
        return 1 + self.further * (n_rows - 1)


def drafted_runs(costs, n_tokens, wrong):
    """Lengths of the drafts of an answer, one for each run."""
    known = KnownAnswer(range(n_tokens), wrong)
    drafting = AnswerDrafting([known], Experience(costs), end_ids=())
    drafting.begin([])
    lengths, place = [], 0
    while place < n_tokens:
        drafting.accept(place)
        place += 1
        draft = drafting.draft(1, ALONE, n_tokens)
        lengths.append(len(draft))
        drafting.checked(len(draft))
        for token in draft:
            if token != place or place >= n_tokens:
                break
            drafting.accept(token)
            place += 1
    return lengths


def test_drafts_end_where_guesses_turn_out_wrong_and_are_tried_again_now_and_then():
    lengths = drafted_runs(Priced(0.5), 600, wrong=1)
    assert 0 < sum(lengths[10:]) <= 6
    assert max(lengths[10:]) == 1


class ColdAtFirst:
    """Costs of runs, measured anew by each: the first one with guesses waits for weights that nobody read."""

    def __init__(self):
        self._costs = RowCosts()
        self._costs.observe(1, 1.0)
        self.estimate = self._costs.estimate

    def run(self, n_rows):
        is_cold = n_rows > 1 and not self._costs.n_measured(n_rows)
        self._costs.observe(n_rows, 5.0 if is_cold else 1 + 0.1 * (n_rows - 1))


class DearGuesses(KnownAnswer):
    """Guesses that cost something to make."""

    costs = True


def test_a_first_draft_that_waits_for_cold_weights_does_not_end_drafts_in_short_answers():
    costs = ColdAtFirst()
    experience, lengths = Experience(costs), []
    for _ in range(4):
        drafting = AnswerDrafting([DearGuesses(range(12))], experience, end_ids=(), n_most=1)
        drafting.begin([])
        for token in range(0, 12, 2):
            drafting.accept(token)
            draft = drafting.draft(1, ALONE, 1)
            costs.run(1 + len(draft))
            drafting.checked(len(draft))
            drafting.accept(token + 1)
            lengths.append(len(draft))
    assert lengths == [1] * len(lengths)


def test_drafts_that_come_true_are_as_long_as_is_worth_it():
    assert min(drafted_runs(Priced(0.5), 100, wrong=0)[2:-1]) == 7
    assert max(drafted_runs(Priced(1.0), 100, wrong=0)) <= 1


def test_a_token_that_ends_answers_is_no_guess():
    drafting = AnswerDrafting([KnownAnswer(range(10))], Experience(Priced(0.1)), end_ids={4})
    drafting.begin([])
    drafting.accept(0)
    assert drafting.draft(1, ALONE, 9) == [1, 2, 3]


def test_where_the_run_is_full_nothing_is_guessed():
    drafting = AnswerDrafting([KnownAnswer(range(20))], Experience(Priced(0.1)), end_ids=())
    drafting.begin([])
    for token in range(8):
        drafting.accept(token)
    assert drafting.draft(8, ALONE, 99) == []
    assert len(drafting.draft(6, ALONE, 99)) == 2
    assert drafting.draft(1, ALONE, 0) == []


def test_what_is_saved_is_counted():
    drafting = AnswerDrafting([KnownAnswer(range(20), wrong=3)], Experience(Priced(0.5)), end_ids=())
    drafting.begin([])
    drafting.accept(0)
    drafting.checked(len(drafting.draft(1, ALONE, 2)))
    drafting.accept(1)
    drafting.run_saved()
    drafting.accept(2)
    counted = drafting.statistics
    assert (counted.n_drafted, counted.n_accepted) == ({"known": 2}, {"known": 1})
    assert counted.saved_seconds == pytest.approx(1 - 2 * 0.5)
