"""A request for a response, as it is declared and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from ...chat.messages import Message
from ..api_error import ApiError, BadRequest
from ..declared import Declared, Name, Positive
from ..requests import ChatRequest, Limits, Thinking
from ..sampling_fields import Format, SamplingFields
from ..settings import MAX_TOOLS
from .chat_request import Effort, effort_of, offered_tools
from .response_input import ResponseTool, flat_tools, input_messages
from .response_store import ResponseStore

ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
)
"""Fields that the response repeats."""

ENCRYPTED = "reasoning.encrypted_content"
"""What is asked for in `include` by clients that keep the conversation themselves."""


class ReasoningEffort(Declared):
    """How much to think."""

    effort: Effort | None = None


class TextFormat(Declared):
    """What the text is held to."""

    format: Format | None = None


class ResponseBody(SamplingFields):
    """A conversation, as a list of items, to be answered."""

    input: str | list[dict[str, Any]] | None = None
    model: Name | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    max_output_tokens: Positive | None = None
    tools: Annotated[list[ResponseTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningEffort | None = None
    text: TextFormat | None = None
    include: list[str] | None = None
    metadata: dict[str, Any] | None = None
    conversation: str | dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    user: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True)
class ResponseCall:
    """A request and how its answer is to be sent.

    messages: those that the response goes on from, without instructions. namespaces: of functions in one.
    echoed: what the response repeats. keeps_reasoning: the client gives thinking back, as text that it
    does not read.
    """

    request: ChatRequest
    model: str
    stream: bool
    store: bool
    messages: list[Message]
    namespaces: Mapping[str, str]
    echoed: Mapping[str, Any]
    keeps_reasoning: bool = False


def read_response(
    body: ResponseBody, given: Mapping[str, Any], model_name: str, store: ResponseStore
) -> ResponseCall:
    """A request of /v1/responses. given: the body as it came, of which the response repeats some.

    Raises ApiError.
    """
    if body.background:
        raise BadRequest("background is not supported; leave it out", "background")
    if body.conversation is not None:
        raise BadRequest("conversations are not kept; use previous_response_id or input", "conversation")
    messages = [*_earlier(body.previous_response_id, store), *input_messages(body.input)]
    if not messages:
        raise BadRequest("input is missing or empty", "input")
    system: list[Message] = [{"role": "system", "content": body.instructions}] if body.instructions else []
    functions, namespaces = flat_tools(body.tools or [])
    tools, choice = offered_tools(functions, _tool_choice(body.tool_choice))
    request = ChatRequest(
        messages=[*system, *messages],
        tools=tools,
        tool_choice=choice,
        max_tool_calls=1 if body.parallel_tool_calls is False else None,
        form=body.text.format.form("text.format") if body.text and body.text.format else None,
        thinking=_thinking(body.reasoning),
        template_arguments=body.chat_template_kwargs or {},
        sampling=body.sampling(),
        limits=Limits(body.max_output_tokens, ignore_eos=bool(body.ignore_eos)),
    )
    echoed = {name: given.get(name) for name in ECHOED}
    return ResponseCall(
        request,
        body.model or model_name,
        bool(body.stream),
        body.store is not False,
        messages,
        namespaces,
        {
            **echoed,
            "metadata": echoed["metadata"] or {},
            "text": echoed["text"] or {"format": {"type": "text"}},
            "tools": echoed["tools"] or [],
            "tool_choice": echoed["tool_choice"] or "auto",
            "parallel_tool_calls": body.parallel_tool_calls is not False,
        },
        keeps_reasoning=ENCRYPTED in (body.include or ()),
    )


def _earlier(name: str | None, store: ResponseStore) -> list[Message]:
    """The messages of the response that this one follows."""
    if name is None:
        return []
    stored = store.get(name)
    if stored is None:
        raise ApiError(
            400,
            f"there is no response {name[:80]!r}; send the whole conversation as input",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    return list(stored.messages)


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if isinstance(choice, dict) and choice.get("type") not in (None, "function", "allowed_tools"):
        return "auto"  # a tool of a service that is not here
    return choice


def _thinking(reasoning: ReasoningEffort | None) -> Thinking:
    if reasoning is None or reasoning.effort is None:
        return Thinking()
    return Thinking(*effort_of(reasoning.effort))
