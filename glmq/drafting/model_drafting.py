"""How a model's answers are drafted: what the caller chose, and what all answers share."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .answer_drafting import AnswerDrafting, Costs, Experience
from .drafter import Drafter
from .lookup import LookUp
from .text_index import TextIndex

if TYPE_CHECKING:
    from ..session import Session
    from ..tokenizer import Tokenizer


class ModelDrafting:
    """Makes what guesses for each answer of a model."""

    def __init__(self, costs: Costs) -> None:
        self._experience = Experience(costs)
        self._indices: WeakKeyDictionary[Session, TextIndex] = WeakKeyDictionary()

    def of_answer(self, session: Session, tokenizer: Tokenizer) -> AnswerDrafting:
        """What guesses for an answer in a session."""
        if session not in self._indices:
            self._indices[session] = TextIndex()
        drafters: list[Drafter] = [LookUp(self._indices[session])]
        return AnswerDrafting(drafters, self._experience, tokenizer.eog_ids)
