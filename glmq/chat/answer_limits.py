"""Where an answer of a small model is to end, as its file recommends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TOKENS_KEY = "glmq.answer.max_tokens"
END_LOOPS_KEY = "glmq.answer.end_loops"


@dataclass(frozen=True)
class AnswerLimits:
    """max_tokens: of an answer, None for no limit. end_loops: end one that has come to repeat itself."""

    max_tokens: int | None = None
    end_loops: bool = False


def recommended_limits(metadata: Mapping[str, Any]) -> AnswerLimits:
    """What a GGUF file's metadata recommends; nothing where it says nothing or what makes no sense."""
    most = metadata.get(MAX_TOKENS_KEY)
    sound = isinstance(most, int) and not isinstance(most, bool) and most > 0
    return AnswerLimits(most if sound else None, metadata.get(END_LOOPS_KEY) is True)
