"""What drafts have come to."""

from __future__ import annotations

from dataclasses import replace

from ..answer_costs import Timings


class DraftStatistics:
    """Counts of one answer.

    n_drafted: guesses that runs have checked. n_accepted: those that came true. saved_seconds: about how much
    longer the answer would have taken without drafts, by what runs cost; below 0 where they cost time.
    """

    def __init__(self) -> None:
        self.n_drafted = self.n_accepted = 0
        self.saved_seconds = 0.0
        self._run_seconds = 0.0

    def check(self, n: int, run_seconds: float, more_seconds: float) -> None:
        """`n` guesses are checked, for `more_seconds` more than the run would cost that each may save."""
        self.n_drafted += n
        self.saved_seconds -= more_seconds
        self._run_seconds = run_seconds

    def added_to(self, timings: Timings) -> Timings:
        """What an answer has cost, with these counts."""
        if not self.n_drafted:
            return timings
        return replace(
            timings, n_drafted=self.n_drafted, n_accepted=self.n_accepted, saved_seconds=self.saved_seconds
        )

    def accept(self) -> None:
        """A guess came true, so that a run is saved."""
        self.n_accepted += 1
        self.saved_seconds += self._run_seconds
