"""Drafts for one answer: whose guesses, how many of them, and what has come of that."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from glmq_kernels.gemm.sizes import ROW_TOKENS

from ..answer_costs import Timings
from ..scheduling.request import Beside
from .drafter import Drafter, Guess
from .length import Length, best_length, least_share
from .statistics import DraftStatistics, DraftTotals
from .success import AnswerSuccess, Success
from .sureness import Sureness

WEIGHT = 0.1
"""Of the newest measurement, in the running mean of what a guess costs, once there are many."""

NONE = -1
"""Stands for a guess that was not made as its drafter was too unsure, which plans count as a wrong one."""

PROBE_SHARE = 0.005
"""Of answers' time, what is spent on drafts that do not promise to be worth it, to find out whether they have
become so."""

FIRST_PROBES = 4
"""So many drafts of a drafter are made in any case: its first guess, and the first run with one, wait for
weights that nobody has read yet, so what they cost says little."""


KEPT = 8
"""How often what runs cost is looked up before that is done anew: it changes little from run to run."""


class Costs(Protocol):
    """What runs cost."""

    def estimate(self, n_rows: int) -> float | None:
        """Seconds of a run of so many tokens; None where nobody knows."""


@dataclass(slots=True)
class RunPrices:
    """Of a run without guesses and of one with one, in seconds; and `least_share` for it.

    n_uses: how often it was looked up.
    """

    run: float
    longer: float
    least_share: float
    n_uses: int = 0


class Experience:
    """What all answers of a model have shown: how often guesses come true, and what they and runs cost.

    totals: of the answers that have ended.
    """

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.totals = DraftTotals()
        self.success = Success()
        self._guess_seconds: dict[str, float] = {}
        self._n_measured: Counter[str] = Counter()
        self._prices: dict[tuple[str, int], RunPrices] = {}
        self._seconds_to_probe = 0.0

    def prices(self, drafter: Drafter, n_tokens: int) -> RunPrices | None:
        """What a run of so many tokens costs without and with a drafter's guess; None where nobody knows."""
        prices = self._prices.get((drafter.name, n_tokens))
        if prices is None or prices.n_uses >= KEPT:
            run, longer = self.costs.estimate(n_tokens), self.costs.estimate(n_tokens + 1)
            if run is None or longer is None:
                return None
            guess_seconds = self.guess_seconds(drafter)
            share = least_share(self.costs.estimate, n_tokens, guess_seconds, ROW_TOKENS - 1)
            prices = RunPrices(run, longer + guess_seconds, share)
            self._prices[drafter.name, n_tokens] = prices
        prices.n_uses += 1
        return prices

    def guess_seconds(self, drafter: Drafter) -> float:
        """What a guess costs."""
        return self._guess_seconds.get(drafter.name, 0.0) if drafter.costs else 0.0

    def may_probe(self, drafter: Drafter, prices: RunPrices) -> bool:
        """Whether a drafter may make a draft though that promises nothing."""
        if drafter.costs and self._n_measured[drafter.name] < FIRST_PROBES:
            return True
        if prices.longer - prices.run > self._seconds_to_probe:
            return False
        self._seconds_to_probe = 0.0
        return True

    def has_run(self, seconds: float) -> None:
        """A run without a draft takes so long."""
        self._seconds_to_probe += PROBE_SHARE * seconds

    def observe_guesses(self, drafter: Drafter, n: int, seconds: float) -> None:
        """Take in what guesses have cost."""
        name, each = drafter.name, seconds / n
        known, n_measured = self._guess_seconds.get(name, each), self._n_measured[name]
        if n_measured == 1 and each < known:  # the first guess waits for caches
            known = each
        weight = max(WEIGHT, 1 / (n_measured + 1))
        self._guess_seconds[name] = known + weight * (min(each, 2 * known) - known)
        self._n_measured[name] = n_measured + 1


@dataclass(frozen=True)
class Proposal:
    """Guesses of a drafter, to be checked in a run of so many tokens beside them."""

    drafter: Drafter
    guesses: Sequence[Guess]
    n_tokens: int


class AnswerDrafting:
    """Is told each token of an answer, and proposes what may follow.

    drafters: those asked, at equal promise the first. end_ids: tokens that end an answer, which is no guess.
    n_most: guesses of a draft. promised: how many guesses of the last draft will probably come true.
    """

    def __init__(
        self,
        drafters: Sequence[Drafter],
        experience: Experience,
        end_ids: Collection[int],
        n_most: int = ROW_TOKENS,
    ) -> None:
        self._n_most = n_most
        self.statistics = DraftStatistics()
        self._drafters, self._experience, self._end_ids = drafters, experience, end_ids
        self._free = [drafter for drafter in drafters if not drafter.costs]
        self._success = AnswerSuccess(experience.success, {drafter.name for drafter in self._free})
        self.promised = 0.0
        self._proposed: Proposal | None = None
        self._open: deque[Guess] = deque()  # guesses of it that were not compared yet
        self._n_checked = 0  # of these, the first, that a run has checked
        self._before: Guess | None = None  # the last that was compared, of the same draft

    def begin(self, prompt: Sequence[int]) -> None:
        """The session has evaluated the prompt."""
        for drafter in self._drafters:
            drafter.begin(prompt)

    def accept(self, token: int) -> None:
        """Take note of the answer's next token, and of the guesses that it proves right or wrong."""
        counted: Drafter | None = None
        if self._open and self._proposed is not None:
            counted = self._proposed.drafter
            self._compare(counted, self._open.popleft(), token)
        for drafter in self._free:
            if drafter is not counted and (guess := drafter.next_guess()) is not None:
                guessed, kind = guess
                self._success.observe((drafter.name, kind), drafter.assumed(kind), guessed == token)
        for drafter in self._drafters:
            drafter.accept(token)

    def draft(self, n_drawn: int, beside: Beside, n_most: int) -> list[int]:
        """Guesses of what follows the tokens drawn, as many as are worth checking with these in one run.

        beside: what of other sequences the run will probably have. n_most: for which there is room.
        """
        self.promised = 0.0
        n_most = min(n_most, ROW_TOKENS - n_drawn, self._n_most)
        if n_most < 1:
            return []
        n_tokens, progress = n_drawn + beside.n_tokens, n_drawn + beside.progress
        drafter, length = self._most_promising(n_tokens, progress, n_most)
        if drafter is None:
            return []
        by_sureness = drafter.tells_probability and length.gain > 1.0  # a probe is checked in any case
        sureness = self._sureness(drafter) if by_sureness else None
        n_made = n_most if by_sureness else length.n
        made, was_unsure = self._made(drafter, n_made, n_tokens, progress, sureness)
        guesses = list(takewhile(lambda guess: guess.token not in self._end_ids, made))
        self._proposed, self._before, self._n_checked = Proposal(drafter, guesses, n_tokens), None, 0
        self._open = deque(guesses)
        if was_unsure and len(guesses) == len(made):
            self._open.append(Guess(NONE, len(made)))
        if sureness is not None:
            length = sureness.worth_checking(guesses, n_tokens, progress)
        self.promised = min(length.promised, len(guesses))
        return [guess.token for guess in guesses[: length.n]]

    def checked(self, n: int) -> None:
        """A run has checked so many of the guesses, the first: none where there was no memory for them."""
        if self._proposed is None or not n:
            return
        self._n_checked = n
        drafter, n_tokens = self._proposed.drafter, self._proposed.n_tokens
        estimate = self._experience.costs.estimate
        alone, longer = estimate(n_tokens) or 0.0, estimate(n_tokens + n) or 0.0
        self._experience.success.checked(drafter.name, self.promised / self._reliability(drafter))
        self.statistics.check(drafter.name, n, run_seconds=alone, more_seconds=longer - alone)

    def run_saved(self) -> None:
        """What follows the tokens drawn is known from the last draft, so that no run was needed."""
        self.statistics.save_run()

    def end(self, timings: Timings) -> None:
        """The answer has ended, and has cost this."""
        self._experience.totals.add(self.statistics, timings)
        self._success.end()
        for drafter in self._drafters:
            drafter.end()

    def _compare(self, drafter: Drafter, guess: Guess, token: int) -> None:
        """Take note of what has come in the place of the next guess that is open."""
        self._observe(drafter, guess, token)
        self._before = guess
        if guess.token != token:
            self._open.clear()
        elif self._n_checked:
            self.statistics.accept(drafter.name)
            self._experience.success.accepted(drafter.name)
        self._n_checked = max(0, self._n_checked - 1)

    def _observe(self, drafter: Drafter, guess: Guess, token: int) -> None:
        is_right = guess.token == token
        self._success.observe((drafter.name, guess.kind), drafter.assumed(guess.kind), is_right)
        if guess.probability is not None:
            self._sureness(drafter).observe(guess, self._before, is_right=is_right)

    def _reliability(self, drafter: Drafter) -> float:
        """How much of what its drafts promise comes true; all where its model's own probabilities promise."""
        return 1.0 if drafter.tells_probability else self._experience.success.reliability(drafter.name)

    def _sureness(self, drafter: Drafter) -> Sureness:
        return Sureness(drafter.name, self._success, self._experience.costs.estimate)

    def _made(
        self, drafter: Drafter, n_most: int, n_tokens: int, progress: float, sureness: Sureness | None
    ) -> tuple[Sequence[Guess], bool]:
        """Guesses of a drafter, and whether it was too unsure to go on, by `sureness` where that is asked."""
        guess_seconds, was_unsure = self._experience.guess_seconds(drafter), False

        def wants_more(guesses: Sequence[Guess]) -> bool:
            nonlocal was_unsure
            if sureness is None or len(guesses) == n_most:
                return len(guesses) < n_most
            if guesses[-1].token in self._end_ids:
                return False
            was_unsure = not sureness.wants_more(guesses, n_tokens, guess_seconds, progress)
            return not was_unsure

        began = time.perf_counter()
        made = drafter.propose(n_most, wants_more)
        if made and drafter.costs:
            self._experience.observe_guesses(drafter, len(made), time.perf_counter() - began)
            self.statistics.make(len(made) * self._experience.guess_seconds(drafter))
        return made, was_unsure

    def _most_promising(self, n_tokens: int, progress: float, n_most: int) -> tuple[Drafter | None, Length]:
        """Whose draft promises most, and of what length; None where none is worth it."""
        best, length = None, Length()
        possible: list[tuple[Drafter, RunPrices]] = []
        for drafter in self._drafters:
            kinds = drafter.kinds(n_most)
            prices = self._experience.prices(drafter, n_tokens) if kinds else None
            if prices is None:
                continue
            possible.append((drafter, prices))
            name, assumed, share = drafter.name, drafter.assumed, self._success.share
            first = share((name, kinds[0]), assumed(kinds[0])) * self._reliability(drafter)
            if first < prices.least_share * progress:
                continue
            shares = [first, *(share((name, kind), assumed(kind)) for kind in kinds[1:])]
            found = best_length(
                shares, self._experience.costs.estimate, n_tokens, self._experience.guess_seconds(drafter),
                progress=progress,
            )  # fmt: skip
            if found.gain > length.gain:
                best, length = drafter, found
        if best is None and (best := self._probed(possible)) is not None:
            length = Length(1)
        return best, length

    def _probed(self, possible: Sequence[tuple[Drafter, RunPrices]]) -> Drafter | None:
        """Who may guess though that promises nothing: now and then, for a small share of the time."""
        if possible:
            self._experience.has_run(possible[0][1].run)
        return next(
            (each for each, prices in reversed(possible) if self._experience.may_probe(each, prices)), None
        )
