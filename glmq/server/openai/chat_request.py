"""A request for a chat completion, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..api_error import BadRequest
from ..fields import Fields
from ..requests import ChatRequest, Limits, Thinking
from ..sampling_fields import form_of, sampling_of, stop_of
from ..settings import MAX_CHOICES, MAX_LOGPROBS, MAX_NAME

EFFORT_BUDGETS: dict[str, int | None] = {
    "minimal": 512,
    "low": 2048,
    "medium": 8192,
    "high": None,
    "xhigh": None,
    "max": None,
}
"""Tokens of thinking for each effort; GLM models themselves know only to think or not."""

MAX_COUNT = 10**9


@dataclass(frozen=True)
class ChatCall:
    """A request and how its answer is to be sent."""

    request: ChatRequest
    model: str
    stream: bool
    includes_usage: bool
    reports_progress: bool


def read_chat(fields: Fields, model_name: str) -> ChatCall:
    """A body of /v1/chat/completions. Unknown fields are passed over. Raises ApiError."""
    messages = fields.objects("messages")
    if not messages:
        raise BadRequest("messages is missing or empty", "messages")
    stream_options = fields.object("stream_options")
    request = ChatRequest(
        messages=messages,
        tools=function_tools(fields),
        tool_choice=tool_choice_of(fields),
        max_tool_calls=1 if fields.switch("parallel_tool_calls") is False else None,
        form=form_of(fields),
        thinking=thinking_of(fields),
        template_arguments=(fields.object("chat_template_kwargs") or Fields({})).values,
        continue_final_message=bool(fields.switch("continue_final_message", False)),
        sampling=sampling_of(fields),
        limits=_limits(fields),
    )
    return ChatCall(
        request,
        fields.text("model", max_length=MAX_NAME) or model_name,
        bool(fields.switch("stream", False)),
        bool(stream_options is not None and stream_options.switch("include_usage", False)),
        bool(fields.switch("return_progress", False)),
    )


def _limits(fields: Fields) -> Limits:
    max_tokens = fields.integer("max_completion_tokens", least=1, most=MAX_COUNT)
    if max_tokens is None:
        max_tokens = fields.integer("max_tokens", least=-1, most=MAX_COUNT)
    if max_tokens == 0:
        raise BadRequest("max_tokens must be at least 1", "max_tokens")
    n_top = fields.integer("top_logprobs", 0, least=0, most=MAX_LOGPROBS)
    return Limits(
        None if max_tokens == -1 else max_tokens,
        stop_of(fields),
        fields.integer("n", 1, least=1, most=MAX_CHOICES),
        n_top if fields.switch("logprobs", False) else None,
    )


def function_tools(fields: Fields) -> list[dict[str, Any]]:
    """The tools that are functions; others belong to services that are not here."""
    return [tool for tool in fields.objects("tools") if tool.get("type") in (None, "function")]


def tool_choice_of(fields: Fields) -> str | dict[str, Any]:
    """The choice of tools: a word, or a function's name."""
    value = fields.values.get("tool_choice")
    if value is None:
        return "auto"
    if isinstance(value, dict):
        if value.get("type") == "allowed_tools":
            return str(Fields(value, "tool_choice").one_of("mode", ("auto", "required"), "auto"))
        return value
    choice: str = fields.one_of("tool_choice", ("auto", "none", "required"), "auto")
    return choice


def thinking_of(fields: Fields) -> Thinking:
    """Whether and how long to think, by any of the names that this goes by."""
    enabled, budget = None, fields.integer("thinking_budget_tokens", least=-1, most=MAX_COUNT)
    effort = fields.text("reasoning_effort")
    if effort is not None:
        enabled, budget_of_effort = effort_of(effort, "reasoning_effort")
        budget = budget_of_effort if budget is None else budget
    if (thinking := fields.object("thinking")) is not None:
        kind = thinking.one_of("type", ("enabled", "disabled", "adaptive", "auto"), "enabled")
        enabled = {"enabled": True, "disabled": False}.get(kind, enabled)
    return Thinking(enabled, None if budget == -1 or enabled is False else budget)


def effort_of(effort: str, path: str) -> tuple[bool, int | None]:
    """Whether an effort thinks, and for how many tokens."""
    if effort == "none":
        return False, None
    if effort not in EFFORT_BUDGETS:
        raise BadRequest(f"{path} must be one of none, {', '.join(EFFORT_BUDGETS)}", path)
    return True, EFFORT_BUDGETS[effort]
