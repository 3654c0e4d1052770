"""How far a run is, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .results import is_answer


@dataclass
class Progress:
    """n_done results of n_all are there, of which n_before those of earlier runs.

    n_failed: those without an answer. n_prompt, n_cached, n_answer: tokens of this run, of prompts, of these
    found in the KV cache, and of answers. seconds: since it began.
    """

    n_all: int
    n_before: int = 0
    n_done: int = 0
    n_failed: int = 0
    n_prompt: int = 0
    n_cached: int = 0
    n_answer: int = 0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """By the speed so far."""
        n = self.n_done - self.n_before
        return self.seconds / n * (self.n_all - self.n_done) if n else None

    def count(self, result: dict[str, Any]) -> None:
        """Count a result of this run."""
        self.n_done += 1
        self.n_failed += not is_answer(result)
        body = (result["response"] or {}).get("body")
        usage = body.get("usage") if isinstance(body, dict) else None
        if usage:  # responses have names of their own for it
            self.n_prompt += usage.get("prompt_tokens", usage.get("input_tokens", 0))
            self.n_answer += usage.get("completion_tokens", usage.get("output_tokens", 0))
            details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
            self.n_cached += details["cached_tokens"]
