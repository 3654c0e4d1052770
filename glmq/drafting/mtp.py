"""Drafts by the model's own layer of multi-token prediction."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from ..prediction import Predicted
from ..session import Session, User
from .drafter import Guess, WantsMore, wants_all

ASSUMED = (0.85, 0.65, 0.5)
"""Shares of guesses that come true, by their places in a draft, about as others tell of such layers; the last
is that of all further places."""


class MtpDrafter:
    """Guesses what follows in a session of a model that was loaded with its layer (`Session.predicts`).

    A guess's kind is its place in the draft. user: who has claimed the session.
    """

    name = "mtp"
    costs = tells_probability = True

    def __init__(self, session: Session, user: User | None = None) -> None:
        self._session = session
        self._user = None if user is None else weakref.ref(user)

    def begin(self, prompt: Sequence[int]) -> None:
        """Nothing to be done: the layer follows every run of the trunk."""

    def accept(self, token: int) -> None:
        """The same."""

    def next_guess(self) -> tuple[int, int] | None:
        """None: guesses take time."""
        return None

    def kinds(self, n_most: int) -> Sequence[int]:
        """Places, where a token is drawn that the guesses can follow."""
        return range(n_most if self._session.predicts and self._session.drawn else 0)

    def assumed(self, kind: int) -> float:
        """Less with each place."""
        return ASSUMED[min(kind, len(ASSUMED) - 1)]

    def propose(self, n_most: int, wants_more: WantsMore = wants_all) -> Sequence[Guess]:
        """Guesses of what follows the tokens drawn. Raises errors as `Session.draft` does."""
        user = None if self._user is None else self._user()
        found = self._session.draft(
            self._session.drawn, n_most, wants_more=lambda found: wants_more(_guesses(found)), user=user
        )
        return _guesses(found)

    def end(self) -> None:
        """Nothing is held."""


def _guesses(found: Sequence[Predicted]) -> list[Guess]:
    return [Guess(token, place, probability) for place, (token, probability) in enumerate(found)]
