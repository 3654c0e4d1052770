"""A request for a response, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...chat.messages import Message
from ..api_error import ApiError, BadRequest
from ..fields import Fields
from ..requests import ChatRequest, Limits, Thinking
from ..sampling_fields import form_of_format, sampling_of
from ..settings import MAX_NAME
from .chat_request import MAX_COUNT, effort_of, tool_choice_of
from .response_input import flat_tools, input_messages
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


@dataclass(frozen=True)
class ResponseCall:
    """A request and how its answer is to be sent.

    messages: those that the response goes on from, without instructions. namespaces: of functions in one.
    echoed: what the response repeats.
    """

    request: ChatRequest
    model: str
    stream: bool
    store: bool
    messages: list[Message]
    namespaces: Mapping[str, str]
    echoed: Mapping[str, Any]


def read_response(fields: Fields, model_name: str, store: ResponseStore) -> ResponseCall:
    """A body of /v1/responses. Unknown fields are passed over. Raises ApiError."""
    messages = [*_earlier(fields, store), *input_messages(fields)]
    if not messages:
        raise BadRequest("input is missing or empty", "input")
    instructions = fields.text("instructions")
    system: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    tools, namespaces = flat_tools(fields)
    text = fields.object("text")
    given_format = None if text is None else text.object("format")
    request = ChatRequest(
        messages=[*system, *messages],
        tools=tools,
        tool_choice=_tool_choice(fields),
        max_tool_calls=1 if fields.switch("parallel_tool_calls") is False else None,
        form=None if given_format is None else form_of_format(given_format),
        thinking=_thinking(fields),
        template_arguments=(fields.object("chat_template_kwargs") or Fields({})).values,
        sampling=sampling_of(fields),
        limits=Limits(fields.integer("max_output_tokens", least=1, most=MAX_COUNT)),
    )
    if fields.switch("background", False):
        raise BadRequest("background is not supported; leave it out", "background")
    echoed = {name: fields.values.get(name) for name in ECHOED}
    echoed["metadata"] = (fields.object("metadata") or Fields({})).values
    return ResponseCall(
        request,
        fields.text("model", max_length=MAX_NAME) or model_name,
        bool(fields.switch("stream", False)),
        bool(fields.switch("store", True)),
        messages,
        namespaces,
        {
            **echoed,
            "text": echoed["text"] or {"format": {"type": "text"}},
            "tools": echoed["tools"] or [],
            "tool_choice": echoed["tool_choice"] or "auto",
            "parallel_tool_calls": fields.switch("parallel_tool_calls", True),
        },
    )


def _earlier(fields: Fields, store: ResponseStore) -> list[Message]:
    """The messages of the response that this one follows."""
    name = fields.text("previous_response_id")
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


def _tool_choice(fields: Fields) -> str | dict[str, Any]:
    value = fields.values.get("tool_choice")
    if isinstance(value, dict) and value.get("type") not in (None, "function", "allowed_tools"):
        return "auto"  # a tool of a service that is not here
    return tool_choice_of(fields)


def _thinking(fields: Fields) -> Thinking:
    reasoning = fields.object("reasoning")
    effort = None if reasoning is None else reasoning.text("effort")
    if effort is None:
        return Thinking()
    return Thinking(*effort_of(effort, "reasoning.effort"))
