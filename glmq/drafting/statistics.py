"""What drafts have come to, of one answer and of all answers of a model."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

from ..answer_costs import Timings


class DraftStatistics:
    """Counts of one answer.

    n_drafted: guesses that runs have checked. n_accepted: those that came true; both by the drafter's name.
    saved_seconds: about how much longer the answer would have taken without drafts, by what runs cost; below
    0 where they cost time.
    """

    def __init__(self) -> None:
        self.n_drafted: Counter[str] = Counter()
        self.n_accepted: Counter[str] = Counter()
        self.saved_seconds = 0.0
        self._run_seconds = 0.0

    def make(self, seconds: float) -> None:
        """Guesses are made, which takes so long."""
        self.saved_seconds -= seconds

    def check(self, name: str, n: int, run_seconds: float, more_seconds: float) -> None:
        """`n` guesses are checked, for `more_seconds` more than the run would cost that each may save."""
        self.n_drafted[name] += n
        self.saved_seconds -= more_seconds
        self._run_seconds = run_seconds

    def accept(self, name: str) -> None:
        """A guess came true."""
        self.n_accepted[name] += 1

    def save_run(self) -> None:
        """What guesses that came true have shown stands in the place of a run."""
        self.saved_seconds += self._run_seconds

    def added_to(self, timings: Timings) -> Timings:
        """What an answer has cost, with these counts."""
        if not self.n_drafted and not self.saved_seconds:
            return timings
        return replace(
            timings,
            n_drafted=self.n_drafted.total(),
            n_accepted=self.n_accepted.total(),
            saved_seconds=self.saved_seconds,
        )


class DraftTotals:
    """Counts of all answers that have ended."""

    def __init__(self) -> None:
        self.n_drafted: Counter[str] = Counter()
        self.n_accepted: Counter[str] = Counter()
        self.timings = Timings()
        self._lock = threading.Lock()

    def add(self, counted: DraftStatistics, timings: Timings) -> None:
        """Take an answer in, with what it has cost."""
        with self._lock:
            self.n_drafted += counted.n_drafted
            self.n_accepted += counted.n_accepted
            self.timings += timings

    def line(self) -> str:
        """For people: whose guesses came true how often, and what that gained."""
        if not self.n_drafted:
            return "No tokens were guessed yet that were worth checking."
        of_each = ", ".join(f"{self.n_accepted[name]} of {n} by {name}" for name, n in self.n_drafted.items())
        gain = self.timings.draft_gain
        return f"Guessed tokens that came true: {of_each}; answers came about {gain:.2f}x as fast."
