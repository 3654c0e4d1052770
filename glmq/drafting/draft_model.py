"""A draft model: a smaller model with the same vocabulary reads along, and says what it would write next."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
from glmq_kernels.errors import GlmqError

from ..prediction import likeliest
from ..scheduling.request import Cancelled
from ..session import Session, User
from .drafter import Guess, WantsMore, wants_all

ASSUMED = 0.7
"""The share of guesses that come true, before any was compared; of guesses behind others less."""


class DraftModel:
    """Guesses the tokens that another model likes best.

    session: a new one of the other model. user: of the answer's session. n_vocab: of the model that answers.
    Where the other model's context or memory ends nothing more is guessed.
    """

    name = "model"
    costs = tells_probability = True

    def __init__(self, session: Session, user: User, n_vocab: int) -> None:
        self._session: Session | None = session
        self._user, self._n_vocab = weakref.ref(user), n_vocab
        self._text: list[int] = []
        self._n_same = 0  # tokens of its session, the first, that are those of the text

    @property
    def cancelled(self) -> bool:
        """Whether the answer is to go no further."""
        user = self._user()
        return user is None or user.cancelled

    @property
    def has_ended(self) -> bool:
        """Whether its session is used no more."""
        return self._session is None

    def begin(self, prompt: Sequence[int]) -> None:
        """Read the prompt, but for its last token."""
        self._text = list(prompt)
        session = self._session
        if session is not None and session.n_ctx >= len(prompt) > 1:
            self._n_same = session.adopt(self._text[:-1], user=self)
            if unread := self._text[self._n_same : -1]:
                self._evaluate(unread)
            self._n_same = len(session.tokens)

    def accept(self, token: int) -> None:
        """Note the token, which may be the one guessed."""
        place = len(self._text)
        self._text.append(token)
        if self._session is not None and place == self._n_same < len(self._session.tokens):
            self._n_same += self._session.tokens[place] == token

    def next_guess(self) -> tuple[int, int] | None:
        """None: guesses take time."""
        return None

    def kinds(self, n_most: int) -> Sequence[int]:
        """The place in the draft."""
        session = self._session
        return () if session is None else range(min(n_most, session.n_ctx - len(self._text) + 1))

    def assumed(self, kind: int) -> float:
        """Less, the farther ahead."""
        return ASSUMED * 0.9**kind

    def propose(self, n_most: int, wants_more: WantsMore = wants_all) -> Sequence[Guess]:
        """What the other model likes best, token by token."""
        if (session := self._session) is None:
            return ()
        guesses: list[Guess] = []
        session.rewind(min(self._n_same, len(self._text) - 1), user=self)
        tokens = self._text[len(session.tokens) :]
        while len(guesses) < n_most:
            if (logits := self._evaluate(tokens)) is None:
                break
            token, probability = likeliest(logits)
            guesses.append(Guess(token, len(guesses), probability))
            if not wants_more(guesses):
                break
            tokens = [token]
        self._n_same = min(len(self._text), len(session.tokens))
        return guesses

    def end(self) -> None:
        """Give its memory back. Its prefix tree keeps the text, for the next answer."""
        session, self._session = self._session, None
        if session is not None and not session.closed:
            session.sequence.release()

    def _evaluate(self, tokens: Sequence[int]) -> np.ndarray | None:
        """The logits behind tokens; None where that cannot be."""
        if self._session is None:
            return None
        try:
            return self._session.evaluate(tokens, user=self)[: self._n_vocab]
        except Cancelled:
            return None
        except GlmqError:  # its context or memory is full, or it is closed: the answer goes on without it
            self.end()
            return None
