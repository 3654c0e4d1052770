"""Drafts by the model's own layer of multi-token prediction."""

from __future__ import annotations

from collections.abc import Sequence

from ..session import Session, User


class MtpDrafter:
    """Guesses what follows in a session of a model that was loaded with its layer (`Session.predicts`).

    user: who has claimed the session. least_probability: a guess that is less probable ends a draft.
    """

    def __init__(self, session: Session, user: User | None = None, least_probability: float = 0.0) -> None:
        self._session, self._user, self._least_probability = session, user, least_probability

    def propose(self, tokens: Sequence[int], n_most: int) -> list[int]:
        """Up to `n_most` guesses of what follows `tokens`.

        tokens: the session's, and behind them those that are drawn and not evaluated yet, usually one. Fewer
        where memory is short, and raises errors, as of `Session.draft`.
        """
        drawn = tokens[len(self._session.tokens) :]
        return self._session.draft(drawn, n_most, least_probability=self._least_probability, user=self._user)
