"""A request for a chat completion, as it is declared and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ...chat.messages import Message
from ..api_error import BadRequest
from ..declared import MAX_COUNT, Declared, DeclaredOpen, Limit, Name, Positive, Whole
from ..requests import ChatRequest, Limits, Thinking
from ..sampling_fields import FormFields, SamplingFields, Stop, stop_texts
from ..settings import MAX_CHOICES, MAX_LOGPROBS, MAX_TOOLS

EFFORT_BUDGETS: dict[str, int | None] = {
    "minimal": 512,
    "low": 2048,
    "medium": 8192,
    "high": None,
    "xhigh": None,
    "max": None,
}
"""Tokens of thinking for each effort; GLM models themselves know only to think or not."""

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class CalledFunction(DeclaredOpen):
    """A call's function. arguments: JSON as text, or an object."""

    name: str
    arguments: str | dict[str, Any] | None = None


class Call(DeclaredOpen):
    """A call that an assistant's message holds."""

    id: str | None = None
    type: Literal["function"] | None = None
    function: CalledFunction


class ChatMessage(DeclaredOpen):
    """A message. reasoning_content, or reasoning: the thinking of an earlier answer."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[str | dict[str, Any]] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    prefix: bool | None = None

    def message(self) -> Message:
        """The message as templates take it."""
        message = self.given()
        message.pop("prefix", None)
        if self.role in ("assistant", "tool"):
            message.setdefault("content", "")
        return message


class Function(DeclaredOpen):
    """A function that may be called. parameters: a JSON schema of its arguments."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(DeclaredOpen):
    """A tool. Those that are not functions belong to services that are not here, and are passed over."""

    type: str | None = None
    function: Function | None = None

    def definition(self) -> dict[str, Any]:
        """The tool as templates take it."""
        given = self.given()
        return {**given, "function": self.function.given()} if self.function else given


Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]


class StreamOptions(Declared):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


class ThinkingField(Declared):
    """Z.ai's and Anthropic's switch. clear_thinking: leave out the thinking of earlier turns."""

    type: Literal["enabled", "disabled", "adaptive", "auto"] = "enabled"
    budget_tokens: Annotated[int, Field(ge=0, le=MAX_COUNT), Whole] | None = None
    clear_thinking: bool | None = None


class ReasoningField(Declared):
    """OpenRouter's switch. exclude: think, but do not tell."""

    enabled: bool | None = None
    effort: Effort | None = None
    max_tokens: Positive | None = None
    exclude: bool | None = None


class ChatBody(SamplingFields, FormFields):
    """A conversation to be answered."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Positive | None = None
    stop: Stop = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), Whole] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS), Whole] | None = None
    tools: Tools | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningField | None = None
    include_reasoning: bool | None = None
    reasoning_format: Literal["none", "auto", "deepseek", "deepseek-legacy"] | None = None
    thinking: ThinkingField | None = None
    thinking_budget_tokens: Limit | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    return_progress: bool | None = None
    timings_per_token: bool | None = None


ThinkingTold = Literal["reasoning_content", "both", "tags", "none"]


@dataclass(frozen=True)
class Told:
    """What of an answer is told, and by which names.

    usage, progress, token_timings: whether a stream tells them. thinking: how the thinking is told, as
    `reasoning_content`, as `reasoning` too, in the content between its tags, or not at all.
    """

    usage: bool = False
    progress: bool = False
    token_timings: bool = False
    thinking: ThinkingTold = "reasoning_content"


@dataclass(frozen=True)
class ChatCall:
    """A request and how its answer is to be sent."""

    request: ChatRequest
    model: str
    stream: bool
    told: Told = Told()


def read_chat(body: ChatBody, model_name: str) -> ChatCall:
    """A request of /v1/chat/completions. Raises BadRequest."""
    tools, choice = offered_tools(
        [tool.definition() for tool in body.tools or () if tool.type in (None, "function")], body.tool_choice
    )
    request = ChatRequest(
        messages=[message.message() for message in body.messages],
        tools=tools,
        tool_choice=choice,
        max_tool_calls=1 if body.parallel_tool_calls is False else None,
        form=body.form(),
        thinking=_thinking(body),
        template_arguments=_template_arguments(body),
        continue_final_message=_continues(body),
        sampling=body.sampling(),
        limits=_limits(body),
    )
    return ChatCall(request, body.model or model_name, bool(body.stream), _told(body))


def _told(body: ChatBody) -> Told:
    return Told(
        usage=bool(body.stream_options is not None and body.stream_options.include_usage),
        progress=bool(body.return_progress),
        token_timings=bool(body.timings_per_token),
        thinking=_thinking_told(body),
    )


def _thinking_told(body: ChatBody) -> ThinkingTold:
    if body.reasoning_format == "none":
        return "tags"
    if body.include_reasoning is False or (body.reasoning is not None and body.reasoning.exclude):
        return "none"
    return "both" if body.include_reasoning or body.reasoning is not None else "reasoning_content"


def _limits(body: ChatBody) -> Limits:
    max_tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    if max_tokens == 0:
        raise BadRequest("max_tokens must be at least 1", "max_tokens")
    return Limits(
        None if max_tokens == -1 else max_tokens,
        stop_texts(body.stop),
        body.n or 1,
        (body.top_logprobs or 0) if body.logprobs else None,
        bool(body.ignore_eos),
    )


def _continues(body: ChatBody) -> bool:
    """Whether the last message is the beginning of the answer, as an assistant's is for llama.cpp too."""
    last = body.messages[-1]
    if body.continue_final_message is not None:
        return body.continue_final_message
    return (
        last.role == "assistant" and last.prefix is not False and bool(last.content) and not last.tool_calls
    )


def _template_arguments(body: ChatBody) -> dict[str, Any]:
    """Arguments of the template, without the one that `Thinking.keep` says."""
    arguments = dict(body.chat_template_kwargs or {})
    arguments.pop("clear_thinking", None)
    return arguments


def offered_tools(
    tools: list[dict[str, Any]], choice: str | dict[str, Any] | None
) -> tuple[list[dict[str, Any]], str | dict[str, Any]]:
    """(tools, tool_choice) with those tools alone that "allowed_tools" allows. Raises BadRequest."""
    if choice is None:
        return tools, "auto"
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise BadRequest(
                "tool_choice must be 'auto', 'none', 'required' or name a function", "tool_choice"
            )
        return tools, choice
    if choice.get("type") != "allowed_tools":
        return tools, choice
    within = choice.get("allowed_tools")
    allowed = within if isinstance(within, dict) else choice
    listed, mode = allowed.get("tools"), allowed.get("mode", "auto")
    if not isinstance(listed, list) or mode not in ("auto", "required"):
        raise BadRequest("tool_choice of the type allowed_tools needs a mode and tools", "tool_choice")
    names = [_function_name(each) for each in listed]
    return [tool for tool in tools if _function_name(tool) in names], mode


def _function_name(tool: object) -> object:
    function = tool.get("function", tool) if isinstance(tool, dict) else {}
    return function.get("name") if isinstance(function, dict) else None


def _thinking(body: ChatBody) -> Thinking:
    """Whether and how long to think, by any of the names that this goes by."""
    enabled, budget = None, body.thinking_budget_tokens
    if (reasoning := body.reasoning) is not None:
        enabled = reasoning.enabled
        budget = reasoning.max_tokens if budget is None else budget
    effort = body.reasoning_effort or (body.reasoning.effort if body.reasoning is not None else None)
    if effort is not None:
        enabled, budget_of_effort = effort_of(effort)
        budget = budget_of_effort if budget is None else budget
    if body.thinking is not None:
        enabled = {"enabled": True, "disabled": False}.get(body.thinking.type, enabled)
        budget = body.thinking.budget_tokens if budget is None else budget
    return Thinking(enabled, None if budget == -1 or enabled is False else budget, _keeps(body))


def _keeps(body: ChatBody) -> bool | None:
    """Whether the thinking of earlier turns is kept, None where that is not said."""
    cleared = body.thinking.clear_thinking if body.thinking is not None else None
    if cleared is None:
        cleared = (body.chat_template_kwargs or {}).get("clear_thinking")
    if cleared is None:
        return None
    if not isinstance(cleared, bool):
        raise BadRequest("clear_thinking must be true or false", "chat_template_kwargs")
    return not cleared


def effort_of(effort: Effort) -> tuple[bool, int | None]:
    """Whether an effort thinks, and for how many tokens."""
    return effort != "none", EFFORT_BUDGETS.get(effort)
