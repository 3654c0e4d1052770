"""How a model's answers are drafted: what the caller chose, and what all answers share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from glmq_kernels.gemm.sizes import ROW_TOKENS

from ..errors import ModelClosed
from ..session import Session, User
from .answer_drafting import AnswerDrafting, Costs, Experience
from .draft_model import DraftModel
from .drafter import Drafter
from .lookup import LookUp
from .mtp import MtpDrafter
from .simulation import SimulatedDrafter, Simulation
from .statistics import DraftTotals
from .text_index import TextIndex

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer


class ModelDrafting:
    """Makes what guesses for each answer of a model.

    lookup: whether texts are looked up. new_draft_session: makes sessions of another model that guesses.
    n_vocab: of the model that answers. Its own layer of multi-token prediction guesses where it was loaded
    with that.

    n_most: guesses of a draft. simulation: what stands in the place of all guesses, for the time they take.
    """

    def __init__(
        self,
        costs: Costs,
        n_vocab: int,
        *,
        lookup: bool,
        new_draft_session: Callable[[], Session] | None = None,
    ) -> None:
        self.n_most = ROW_TOKENS
        self.simulation: Simulation | None = None
        self._experience = Experience(costs)
        self._lookup, self._new_draft_session, self._n_vocab = lookup, new_draft_session, n_vocab
        self._indices: WeakKeyDictionary[Session, TextIndex] = WeakKeyDictionary()

    @property
    def totals(self) -> DraftTotals:
        """What has come of it in the answers that have ended."""
        return self._experience.totals

    def of_answer(self, session: Session, user: User, tokenizer: Tokenizer) -> AnswerDrafting:
        """What guesses for an answer in a session, which `user` has claimed."""
        drafters: list[Drafter] = []
        if self._lookup:
            if session not in self._indices:
                self._indices[session] = TextIndex()
            drafters.append(LookUp(self._indices[session]))
        if session.predicts:
            drafters.append(MtpDrafter(session, user))
        if self._new_draft_session is not None:
            with suppress(ModelClosed):
                drafters.append(DraftModel(self._new_draft_session(), user, self._n_vocab))
        if self.simulation is not None:
            costly = next((each for each in drafters if each.costs), None)
            drafters = [SimulatedDrafter(self.simulation, costly)]
        return AnswerDrafting(drafters, self._experience, tokenizer.eog_ids, self.n_most)
