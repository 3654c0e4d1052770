"""A drafter that knows the answer, but for some tokens, and runs that cost the same whatever is checked."""

from __future__ import annotations

from contextlib import contextmanager

from glmq.drafting.answer_drafting import AnswerDrafting, Experience
from glmq.drafting.drafter import Guess


class FlatCosts:
    """Runs of any number of tokens take a second, so that every draft is worth it."""

    def estimate(self, n_rows):
        return 1.0 + 1e-6 * n_rows


class KnownAnswer:
    """Guesses the tokens of an answer that was given before; every `wrong`-th of them is a wrong one."""

    name, costs, tells_probability = "known", False, False

    def __init__(self, tokens, wrong=0):
        self._tokens, self._wrong, self._place = list(tokens), wrong, 0

    def begin(self, prompt):
        self._place = 0

    def accept(self, token):
        self._place += 1

    def next_guess(self):
        if self._place < len(self._tokens):
            return self._guess(self._place), 0
        return None

    def kinds(self, n_most):
        return [0] * min(n_most, max(0, len(self._tokens) - self._place))

    def assumed(self, kind):
        return 0.9

    def propose(self, n_most, wants_more=None):
        places = range(self._place, min(self._place + n_most, len(self._tokens)))
        return [Guess(self._guess(place), 0) for place in places]

    def end(self):
        pass

    def _guess(self, place):
        is_wrong = self._wrong and place % self._wrong == self._wrong - 1
        return self._tokens[place] + 1 if is_wrong else self._tokens[place]


class Drafted:
    """Stands in the place of what drafts a model's answers."""

    def __init__(self, new_drafters):
        self._new_drafters, self._experience = new_drafters, Experience(FlatCosts())

    def of_answer(self, session, user, tokenizer):
        drafters = [new(session) for new in self._new_drafters]
        return AnswerDrafting(drafters, self._experience, tokenizer.eog_ids)


@contextmanager
def drafted(model, *new_drafters):
    """The model's answers are drafted so meanwhile; `new_drafters` are called with the session of each."""
    before, model._drafting = model._drafting, Drafted(new_drafters) if new_drafters else None
    try:
        yield
    finally:
        model._drafting = before
