"""How often experts were found in memory, and what reading the others took."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class ExpertStatistics:
    """Counts since the model was loaded, or between two moments (`since`).

    hits, misses: uses of an expert by a batch that found it in memory, or did not. prefetched: experts that
    were asked for because the next layer was likely to want them; prefetched_rightly: of these, chosen then;
    prefetched_in_time: of these, there by then. bytes_read: of experts' weights. wait_seconds: in which no
    expert could be computed; run_seconds: of all batches.
    """

    tokens: int = 0
    hits: int = 0
    misses: int = 0
    prefetched: int = 0
    prefetched_rightly: int = 0
    prefetched_in_time: int = 0
    bytes_read: int = 0
    wait_seconds: float = 0.0
    run_seconds: float = 0.0

    def since(self, earlier: ExpertStatistics) -> ExpertStatistics:
        """What was added since an earlier copy."""
        before = asdict(earlier)
        return ExpertStatistics(**{name: value - before[name] for name, value in asdict(self).items()})

    def copy(self) -> ExpertStatistics:
        """The counts of this moment."""
        return ExpertStatistics(**asdict(self))

    @property
    def hit_rate(self) -> float:
        """Share of the uses that found their expert in memory."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def prefetch_accuracy(self) -> float:
        """Share of the prefetched experts that were chosen then."""
        return _ratio(self.prefetched_rightly, self.prefetched)

    @property
    def bytes_per_token(self) -> float:
        """Bytes read for each token."""
        return _ratio(self.bytes_read, self.tokens)

    @property
    def wait_share(self) -> float:
        """Share of the time that was spent waiting for reads."""
        return _ratio(self.wait_seconds, self.run_seconds)

    @property
    def tokens_per_second(self) -> float:
        """Tokens, of prompts and answers, in the time of their batches."""
        return _ratio(self.tokens, self.run_seconds)

    def line(self) -> str:
        """All of it for people to read."""
        prefetches = "nothing prefetched"
        if self.prefetched:
            early = _ratio(self.prefetched_rightly, self.misses)
            prefetches = (
                f"prefetched rightly {self.prefetch_accuracy:.0%}, early for {early:.0%} of the others"
            )
        return (
            f"experts found in memory {self.hit_rate:.0%} · {prefetches}"
            f" · {self.bytes_per_token / 1e6:.0f} MB read per token · waiting {self.wait_share:.0%}"
            f" · {self.tokens_per_second:.2f} tokens/s"
        )


def _ratio(a: float, b: float) -> float:
    return a / b if b else 0.0
