"""What an answer costs: time, and tokens."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Timings:
    """What a generation cost: tokens taken from the cache, tokens of the prompt evaluated, tokens drawn.

    n_drafted: guesses of tokens that were checked; n_accepted: those that came true. saved_seconds: about how
    much longer `decode_seconds` would be without drafts, by what runs cost.
    """

    n_cached: int = 0
    n_prompt: int = 0
    prompt_seconds: float = 0.0
    n_generated: int = 0
    decode_seconds: float = 0.0
    n_drafted: int = 0
    n_accepted: int = 0
    saved_seconds: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        """Of two generations together."""
        return Timings(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def prompt_per_second(self) -> float:
        """Tokens of the prompt evaluated per second."""
        return self.n_prompt / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def decode_per_second(self) -> float:
        """Tokens generated per second, after the prompt."""
        return self.n_generated / self.decode_seconds if self.decode_seconds else 0.0

    @property
    def acceptance(self) -> float:
        """The share of guesses that came true, 0 to 1."""
        return self.n_accepted / self.n_drafted if self.n_drafted else 0.0

    @property
    def draft_gain(self) -> float:
        """How many times as fast as without drafts tokens were generated, about."""
        return 1 + self.saved_seconds / self.decode_seconds if self.decode_seconds else 1.0


@dataclass(frozen=True)
class Usage:
    """Tokens of an answer: of its prompt, those of them that were evaluated before, and those generated.

    reasoning_tokens: those of the generated ones that were thinking. accepted_prediction_tokens: those that
    were guessed before; rejected_prediction_tokens: guesses beside these that were wrong.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0

    @classmethod
    def of(cls, timings: Timings, n_reasoning: int = 0) -> Usage:
        """Of what an answer has cost so far."""
        n_prompt = timings.n_cached + timings.n_prompt
        return cls(
            n_prompt,
            timings.n_cached,
            timings.n_generated,
            n_reasoning,
            timings.n_accepted,
            timings.n_drafted - timings.n_accepted,
        )
