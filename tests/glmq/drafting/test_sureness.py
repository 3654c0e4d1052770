"""Drafts of a model that tells how probable its guesses are."""

from __future__ import annotations

from glmq.drafting.answer_drafting import AnswerDrafting, Experience
from glmq.drafting.drafter import Guess, wants_all
from glmq.drafting.success import AnswerSuccess, Success
from glmq.drafting.sureness import Sureness
from glmq.scheduling.request import ALONE

from .known_answers import KnownAnswer
from .test_length import Priced


class Unsure(KnownAnswer):
    """Knows the answer, but for every `wrong`-th token, of which it is as unsure as it should be."""

    costs = tells_probability = True
    sure = 0.995

    def propose(self, n_most, wants_more=wants_all):
        guesses = []
        for place, guess in enumerate(super().propose(n_most)):
            is_right = guess.token == self._tokens[self._place + place]
            guesses.append(Guess(guess.token, place, self.sure if is_right else 0.15))
            if not wants_more(guesses):
                break
        return guesses

    def kinds(self, n_most):
        return range(len(super().kinds(n_most)))


class OfNoTime(Experience):
    """Guesses that cost a twentieth of a run, however long they take."""

    def observe_guesses(self, drafter, n, seconds):
        pass

    def guess_seconds(self, drafter):
        return 0.05


def drafting_of(n_tokens, wrong, further):
    drafting = AnswerDrafting([Unsure(range(n_tokens), wrong)], OfNoTime(Priced(further)), end_ids=())
    drafting.begin([])
    drafting.accept(0)
    return drafting


def answered(drafting, n_tokens):
    """Drafts of an answer of the tokens 0, 1, 2 and so on, of which the first is accepted."""
    drafts, place = [], 1
    while place < n_tokens:
        draft = drafting.draft(1, ALONE, n_tokens - place)
        drafts.append(draft)
        drafting.checked(len(draft))
        for token in draft:
            if token != place:
                break
            drafting.accept(place)
            place += 1
        if place < n_tokens:
            drafting.accept(place)
            place += 1
    return drafts


def test_a_guess_of_which_its_model_is_unsure_is_not_checked_and_ends_the_draft():
    drafting = drafting_of(200, wrong=5, further=0.3)
    drafts = answered(drafting, 200)
    assert drafts[0] == [1, 2, 3]
    counted = drafting.statistics
    assert counted.n_accepted["known"] == counted.n_drafted["known"] > 80
    assert counted.saved_seconds < 0  # nobody has said that a run was saved, and guesses took time


def test_a_sure_model_goes_on_as_long_as_rows_are_worth_it():
    assert max(map(len, answered(drafting_of(100, wrong=0, further=0.3), 100))) == 7
    assert max(map(len, answered(drafting_of(100, wrong=0, further=1.0), 100))) <= 1


def test_guesses_that_are_not_checked_are_compared_with_what_comes():
    success = Success()
    sureness = Sureness("known", AnswerSuccess(success), Priced(0.3).estimate)
    unsure, sure = Guess(3, 0, 0.15), Guess(4, 0, 0.995)
    assert sureness.worth_checking([unsure], 1).n == 0
    assert sureness.worth_checking([sure, Guess(5, 1, 0.97), Guess(6, 2, 0.15)], 1).n == 2
    for _ in range(30):
        sureness.observe(unsure, None, is_right=True)
        sureness.observe(Guess(5, 1, 0.9), sure, is_right=False)
    assert sureness.worth_checking([unsure], 1).n == 1
    assert not sureness.wants_more([sure], 1, 0.05)


def test_a_guess_that_was_not_made_counts_as_wrong_in_plans():
    class NeverSure(Unsure):
        sure = 0.15

    drafting = AnswerDrafting([NeverSure(range(9))], OfNoTime(Priced(0.3)), end_ids=())
    drafting.begin([])
    drafting.accept(0)
    assert drafting.draft(1, ALONE, 9) == []  # one was made
    drafting.checked(0)
    drafting.accept(1)
    drafting.accept(2)
    first, behind = (drafting._success.share(("known", place), 0.9) for place in (0, 1))
    assert behind < first < 0.9
