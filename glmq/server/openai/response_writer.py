"""An answer as a response: its items, and the events that tell how they come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from ...chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from ...chat.messages import Message
from ..answer_events import AnswerEvent, Finished, Piece
from ..api_error import ApiError
from ..event_stream import comment, named_event
from .response_input import encoded
from .response_request import ResponseCall


@dataclass
class ResponseWriter:
    """Takes events, and gives those of the stream. output: the items so far, the last perhaps open."""

    call: ResponseCall
    id: str = field(default_factory=lambda: f"resp_{uuid4().hex}")
    created_at: int = field(default_factory=lambda: int(time.time()))
    output: list[dict[str, Any]] = field(default_factory=list)
    end: Finished | None = None
    _is_open: bool = False
    _n_sent: int = 0

    def start(self) -> bytes:
        """The events before anything is generated."""
        response = self.response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def write(self, event: AnswerEvent) -> bytes:
        """What is sent for an event."""
        if isinstance(event, Finished):
            self.end = event
            return self._close("completed" if event.reason in ("stop", "tool_calls") else "incomplete")
        if not isinstance(event, Piece):
            return comment(f"prompt: {event.n_done} of {event.n_wanted} tokens")
        part = event.event
        if isinstance(part, ReasoningText):
            return self._open_reasoning() + self._reasoning_delta(part.text)
        if isinstance(part, ContentText):
            return self._open_message() + self._message_delta(part.text)
        if isinstance(part, ToolCallBegin):
            return self._open_call(part.name, event.call_id)
        if isinstance(part, ToolCallText):
            self._item["arguments"] += part.text
            return self._event("response.function_call_arguments.delta", **self._place(), delta=part.text)
        assert isinstance(part, ToolCallEnd)
        return self._close()

    def last(self) -> bytes:
        """The event that ends the stream."""
        response = self.finished()
        return self._event(f"response.{response['status']}", response=response)

    def failed(self, error: ApiError) -> bytes:
        """The events of an answer that could not be completed."""
        code = "server_error" if error.status >= 500 else "invalid_prompt"
        response = self.response("failed") | {"error": {"code": code, "message": error.message}}
        return self._close("incomplete") + self._event("response.failed", response=response)

    def finished(self) -> dict[str, Any]:
        """The response, when all has come."""
        assert self.end is not None
        if self.end.reason in ("stop", "tool_calls"):
            return self.response("completed") | {"completed_at": int(time.time())}
        details = {"incomplete_details": {"reason": "max_output_tokens"}}
        return self.response("incomplete") | details

    def response(self, status: str) -> dict[str, Any]:
        """The response so far."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.call.model,
            **self.call.echoed,
            "store": self.call.store,
            "truncation": "disabled",
            "output": list(self.output),
            "usage": self._usage(),
        }

    def answer_message(self) -> Message:
        """The answer, as the conversation goes on from it."""
        message: Message = {"role": "assistant", "content": ""}
        for item in self.output:
            if item["type"] == "reasoning":
                message["reasoning_content"] = message.get("reasoning_content", "") + _text(item)
            elif item["type"] == "message":
                message["content"] += _text(item)
            else:
                function = {"name": item["name"], "arguments": item["arguments"]}
                call = {"id": item["call_id"], "type": "function", "function": function}
                message.setdefault("tool_calls", []).append(call)
        return message

    @property
    def _item(self) -> dict[str, Any]:
        return self.output[-1]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item["id"], "output_index": len(self.output) - 1}

    def _event(self, name: str, /, **values: Any) -> bytes:
        event = {"type": name, "sequence_number": self._n_sent, **values}
        self._n_sent += 1
        return named_event(name, event)

    def _open(self, item: dict[str, Any]) -> bytes:
        closed = self._close()
        self.output.append(item)
        self._is_open = True
        index = len(self.output) - 1
        return closed + self._event("response.output_item.added", output_index=index, item=item)

    def _is_at(self, kind: str) -> bool:
        return self._is_open and self._item["type"] == kind

    def _open_reasoning(self) -> bytes:
        if self._is_at("reasoning"):
            return b""
        item = {
            "id": _new_id("rs"),
            "type": "reasoning",
            "summary": [],
            "content": [],
            "status": "in_progress",
        }
        opened = self._open(item)
        part = {"type": "reasoning_text", "text": ""}
        self._item["content"].append(part)
        return opened + self._event(
            "response.content_part.added", **self._place(), content_index=0, part=part
        )

    def _reasoning_delta(self, text: str) -> bytes:
        self._item["content"][0]["text"] += text
        return self._event("response.reasoning_text.delta", **self._place(), content_index=0, delta=text)

    def _open_message(self) -> bytes:
        if self._is_at("message"):
            return b""
        item = {
            "id": _new_id("msg"),
            "type": "message",
            "role": "assistant",
            "content": [],
            "status": "in_progress",
        }
        opened = self._open(item)
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        added = self._event("response.content_part.added", **self._place(), content_index=0, part=part)
        self._item["content"].append(part)
        return opened + added

    def _message_delta(self, text: str) -> bytes:
        self._item["content"][0]["text"] += text
        place = self._place()
        return self._event("response.output_text.delta", **place, content_index=0, delta=text, logprobs=[])

    def _open_call(self, name: str, call_id: str) -> bytes:
        item = {
            "id": _new_id("fc"),
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": "",
            "status": "in_progress",
        }
        if name in self.call.namespaces:
            item["namespace"] = self.call.namespaces[name]
        return self._open(item)

    def _close(self, status: str = "completed") -> bytes:
        if not self._is_open:
            return b""
        self._is_open, item = False, self._item
        item["status"] = status
        if item["type"] == "reasoning" and self.call.keeps_reasoning:
            item["encrypted_content"] = encoded(_text(item))
        place = self._place()
        if item["type"] == "function_call":
            item["arguments"] = item["arguments"] or "{}"
            told = {"arguments": item["arguments"], "name": item["name"]}
            events = self._event("response.function_call_arguments.done", **place, **told)
        else:
            part, told = item["content"][0], {"content_index": 0, "text": _text(item)}
            if item["type"] == "message":
                events = self._event("response.output_text.done", **place, **told, logprobs=[])
            else:
                events = self._event("response.reasoning_text.done", **place, **told)
            events += self._event("response.content_part.done", **place, content_index=0, part=part)
        return events + self._event(
            "response.output_item.done", output_index=place["output_index"], item=item
        )

    def _usage(self) -> dict[str, Any] | None:
        if self.end is None:
            return None
        usage = self.end.usage
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        }


def _text(item: dict[str, Any]) -> str:
    return "".join(part["text"] for part in item["content"])


def _new_id(kind: str) -> str:
    return f"{kind}_{uuid4().hex}"
