"""What is told about an answer, its speed and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..answer_costs import Timings
    from ..chat.answer import Answer
    from ..experts.statistics import ExpertStatistics
    from ..model import Model


def stats_line(model: Model, timings: Timings, before: ExpertStatistics | None = None) -> str:
    """Of an answer: tokens and speed; where experts come from disk, also how that went, since `before`."""
    cached = f" (and {timings.n_cached} cached)" if timings.n_cached else ""
    line = (
        f"[prompt {timings.n_prompt} tokens{cached}, {timings.prompt_per_second:.1f} tokens/s"
        f" · answer {timings.n_generated} tokens, {timings.decode_per_second:.1f} tokens/s{_drafts(timings)}]"
    )
    if model.experts is None:
        return line
    statistics = model.experts.statistics
    return f"{line}\n[{(statistics.since(before) if before else statistics).line()}]"


def _drafts(timings: Timings) -> str:
    """What guessing tokens has come to."""
    if not timings.n_drafted:
        return ""
    came_true = f"{timings.n_accepted} of {timings.n_drafted} guessed tokens came true"
    return f" · {came_true}, about {timings.draft_gain:.2f}x as fast"


def memory_line(model: Model) -> str:
    """Where the model's weights are, how well that has worked so far, and what the KV cache takes."""
    if model.experts is None:
        where = "in memory" if model.file.in_memory else "mapped into memory"
        weights = f"All {_size(model.file.n_bytes)} of the model are {where}."
    else:
        weights = f"{model.experts.placement.line()} (--ram)\n{model.experts.statistics.line()}"
    return f"{weights}\n{model.kv_cache.line()}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def why_no_answer(answer: Answer) -> str | None:
    """Why an answer is empty, where it is and nobody stopped it."""
    if answer.content.strip() or answer.tool_calls or answer.finish_reason == "cancelled":
        return None
    if not answer.ended_in_thinking:
        return "The model ended its answer without a word."
    if answer.finish_reason == "stop":
        return "The model ended inside its thinking, so there is no answer; ask it to go on."
    if answer.finish_reason == "context":
        return "The context ended inside the thinking, so there is no answer."
    return (
        "The answer's limit was reached inside the thinking, so there is no answer; a larger one allows more."
    )
