"""Tokens, speeds, reasons and log-probabilities in OpenAI's form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...answer_costs import Timings, Usage
from ...token_logprobs import TokenLogprob
from ..answer_events import Finished, Reason

if TYPE_CHECKING:
    from ...tokenizer import Tokenizer

FINISH_REASONS: dict[Reason, str] = {
    "stop": "stop",
    "length": "length",
    "context": "length",
    "tool_calls": "tool_calls",
    "cancelled": "stop",
}


def total_usage(answers: Iterable[Finished]) -> Usage:
    """Of the answers to one prompt, which counts once."""
    usages = [each.usage for each in answers]
    return Usage(
        max((each.prompt_tokens for each in usages), default=0),
        min((each.cached_tokens for each in usages), default=0),
        sum(each.completion_tokens for each in usages),
        sum(each.reasoning_tokens for each in usages),
        sum(each.accepted_prediction_tokens for each in usages),
        sum(each.rejected_prediction_tokens for each in usages),
    )


def usage_json(usage: Usage) -> dict[str, Any]:
    """Tokens."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "accepted_prediction_tokens": usage.accepted_prediction_tokens,
            "rejected_prediction_tokens": usage.rejected_prediction_tokens,
        },
    }


def timings_json(timings: Timings) -> dict[str, Any]:
    """Speeds, with llama-server's names; of drafts only where there were any, as it does."""
    drafts = {"draft_n": timings.n_drafted, "draft_n_accepted": timings.n_accepted}
    return {
        "cache_n": timings.n_cached,
        "prompt_n": timings.n_prompt,
        "prompt_ms": timings.prompt_seconds * 1000,
        "prompt_per_second": timings.prompt_per_second,
        "predicted_n": timings.n_generated,
        "predicted_ms": timings.decode_seconds * 1000,
        "predicted_per_second": timings.decode_per_second,
        **(drafts if timings.n_drafted else {}),
    }


def chat_logprobs(logprobs: Iterable[TokenLogprob | None], tokenizer: Tokenizer) -> dict[str, Any]:
    """As a chat completion's choice has them."""
    return {
        "content": [
            {
                **_entry(each.token, each.logprob, tokenizer),
                "top_logprobs": [_entry(token, logprob, tokenizer) for token, logprob in each.top],
            }
            for each in logprobs
            if each is not None
        ],
        "refusal": None,
    }


def finite(logprob: float) -> float | None:
    """A log-probability as JSON can hold it: None where there is none, a low number for minus infinity."""
    return None if math.isnan(logprob) else max(logprob, -9999.0)


def _entry(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    data = tokenizer.decode_bytes([token])
    return {"token": data.decode("utf-8", "replace"), "logprob": finite(logprob), "bytes": list(data)}
