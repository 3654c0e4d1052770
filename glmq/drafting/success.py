"""How often guesses come true, by the drafter and the kind of guess."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PRIOR = 2.0
"""The first assumption about a kind of guess counts as so many guesses."""

OF_ALL = 6.0
"""What all answers have shown counts in one answer as so many of its own guesses."""

OF_DRAFTER = 1.0
"""That an answer's guesses come true as often as those of others counts as so many that did."""

OF_DOUBTED = 0.5
"""So many of those did at most, of drafters whose guesses are compared anyway: the answer soon shows more.

Fewer, where the last answers did not repeat what they had: the mean of what each has shown, however many
guesses that were, for an answer that copies has far more of them than one that does not.
"""

LAST_ANSWERS, LEAST_EXPECTED = 4.0, 1.0
"""So many answers are that, and in so many guesses that were expected to come true it shows."""

SURE, MEMORY_OF_PROMISES = 6.0, 60.0
"""That drafts keep what they promise counts as so many guesses that did, beside so many of the last ones."""

FORGOTTEN = 0.1
"""Of what drafts have kept or not, for each answer: others may be worth trying again."""

MOST = 0.98
"""No share is taken to be larger."""

MEMORY_OF_ALL, MEMORY = 400.0, 24.0
"""Older guesses count less: together as so many, of all answers and of one."""

Kind = tuple[str, int]
"""A drafter's name, and its kind of guess."""


@dataclass(slots=True)
class _Count:
    """Guesses that were compared with what came, and those of them that were right."""

    compared: float = 0.0
    right: float = 0.0

    def add(self, is_right: bool, memory: float) -> None:
        """Take one in."""
        kept = min(1.0, memory / (self.compared + 1))
        self.compared, self.right = (self.compared + 1) * kept, (self.right + is_right) * kept


class Success:
    """Of all answers of a model. Any thread may ask and tell; a count that is lost does no harm."""

    def __init__(self) -> None:
        self._counts: dict[Kind, _Count] = {}
        self._in_answers: dict[str, float] = {}
        self._promised: dict[
            str, _Count
        ] = {}  # by drafter: guesses promised to come true, and those that did

    def reliability(self, name: str) -> float:
        """How much of what a drafter's drafts have promised has come true, at most all.

        Less than the shares say: those drafts are made whose guesses are taken to come true most often, and
        among these are most of those of which that is taken too high.
        """
        count = self._promised.get(name)
        return 1.0 if count is None else min(1.0, (count.right + SURE) / (count.compared + SURE))

    def checked(self, name: str, promised: float) -> None:
        """A run has checked guesses of which so many should come true, by their shares."""
        count = self._promised.setdefault(name, _Count())
        kept = min(1.0, MEMORY_OF_PROMISES / (count.compared + promised)) if promised else 1.0
        count.compared, count.right = (count.compared + promised) * kept, count.right * kept

    def accepted(self, name: str) -> None:
        """One of these came true."""
        if (count := self._promised.get(name)) is not None:
            count.right += 1

    def begun(self, name: str) -> float:
        """Of guesses of a drafter that are expected to come true, the share that does in an answer."""
        return self._in_answers.get(name, OF_DOUBTED)

    def end_answer(self, name: str, share: float) -> None:
        """Take in which share that was in an answer."""
        known = self.begun(name)
        self._in_answers[name] = known + (min(share, 1.0) - known) / LAST_ANSWERS
        if (count := self._promised.get(name)) is not None:
            count.compared, count.right = (1 - FORGOTTEN) * count.compared, (1 - FORGOTTEN) * count.right

    def observe(self, kind: Kind, is_right: bool) -> None:
        """Take in whether a guess came true."""
        count = self._counts.get(kind)
        if count is None:
            count = self._counts[kind] = _Count()
        count.add(is_right, MEMORY_OF_ALL)

    def share(self, kind: Kind, assumed: float) -> float:
        """The share of guesses that come true. assumed: before any was compared."""
        count = self._counts.get(kind)
        if count is None:
            return assumed
        return (count.right + PRIOR * assumed) / (count.compared + PRIOR)


class AnswerSuccess:
    """Of one answer. How far its guesses come true more or less often than those of other answers counts too.

    So an answer of which nothing repeats has few guesses of any kind, and one that copies has many. Answers
    differ in that more than drafts can cost: an answer behind many that copied is no reason for long drafts.

    doubted: names of drafters whose guesses are taken to come true less often than in other answers until
    this one has shown how often they do.
    """

    def __init__(self, of_all: Success, doubted: Collection[str] = ()) -> None:
        self._of_all = of_all
        self._doubted = {name: min(OF_DOUBTED, of_all.begun(name)) for name in doubted}
        self._counts: dict[Kind, _Count] = {}
        self._expected: dict[str, _Count] = {}  # by drafter: guesses that were expected to come true, and did

    def observe(self, kind: Kind, assumed: float, is_right: bool) -> None:
        """Take in whether a guess came true."""
        expected = self._of_all.share(kind, assumed)
        count = self._expected.get(kind[0])
        if count is None:
            count = self._expected[kind[0]] = _Count()
        kept = min(1.0, MEMORY / (count.compared + expected))
        count.compared, count.right = (count.compared + expected) * kept, (count.right + is_right) * kept
        self._of_all.observe(kind, is_right)
        count = self._counts.get(kind)
        if count is None:
            count = self._counts[kind] = _Count()
        count.add(is_right, MEMORY)

    def share(self, kind: Kind, assumed: float) -> float:
        """The share of guesses that come true."""
        share, name = self._of_all.share(kind, assumed), kind[0]
        begun = self._doubted.get(name, OF_DRAFTER)
        expected, count = self._expected.get(name), self._counts.get(kind)
        if expected is None:
            share *= begun / OF_DRAFTER
        else:
            share *= (expected.right + begun) / (expected.compared + OF_DRAFTER)
        share = min(MOST, share)
        if count is None:
            return share
        return (count.right + OF_ALL * share) / (count.compared + OF_ALL)

    def end(self) -> None:
        """The answer has ended: others begin with what it has shown."""
        for name in self._doubted:
            count = self._expected.get(name)
            if count is not None and count.compared >= LEAST_EXPECTED:
                self._of_all.end_answer(name, count.right / count.compared)
