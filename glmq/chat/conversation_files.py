"""Files of conversations: saved and loaded as JSON, or exported as Markdown or OpenAI's JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from glmq_kernels.errors import UserError

from .conversation import Conversation
from .conversation_markdown import conversation_markdown
from .messages import Message, call_arguments, check_messages


def save_conversation(conversation: Conversation, path: Path) -> None:
    """Write the messages as JSON. Raises UserError when that is not possible."""
    _write(path, json.dumps({"messages": conversation.messages}, ensure_ascii=False, indent=1) + "\n")


def load_conversation(path: Path) -> Conversation:
    """Read messages that were saved or exported as JSON, or any JSON list of messages. Raises UserError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON; load a file that /save has written") from None
    try:
        return Conversation(check_messages(content.get("messages") if isinstance(content, dict) else content))
    except UserError as error:
        raise UserError(f"{path} is no conversation: {error}") from None


def export_conversation(conversation: Conversation, path: Path) -> None:
    """Write a conversation for others: Markdown for .md, a JSON list of OpenAI's messages for .json.

    Raises UserError for other names, and when the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        messages = _openai_messages(conversation.messages)
        _write(path, json.dumps(messages, ensure_ascii=False, indent=2) + "\n")
    elif kind in (".md", ".markdown"):
        _write(path, conversation_markdown(conversation.messages))
    else:
        raise UserError(f"{path} ends with neither .md (Markdown) nor .json; name the file with one of them")


def _openai_messages(messages: Sequence[Message]) -> list[Message]:
    """Messages with arguments as JSON in strings, an id for every call and its result, and no `thinking`."""
    written = []
    waiting: list[str] = []
    for number, message in enumerate(messages, 1):
        copy = {key: value for key, value in message.items() if not isinstance(value, bool)}
        if copy.get("tool_calls"):
            copy["tool_calls"] = [
                _openai_call(call, number, f"call_{number}_{i}")
                for i, call in enumerate(copy["tool_calls"], 1)
            ]
            waiting = [call["id"] for call in copy["tool_calls"]]
        elif copy["role"] == "tool":
            copy.setdefault("tool_call_id", waiting[0] if waiting else f"call_{number}")
            waiting = [each for each in waiting if each != copy["tool_call_id"]]
        written.append(copy)
    return written


def _openai_call(call: Message, number: int, default_id: str) -> Message:
    function = call.get("function", call)
    arguments = json.dumps(call_arguments(function, number), ensure_ascii=False)
    return {
        "id": call.get("id") or default_id,
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all. Halves of characters become the escapes that JSON has for them."""
    unfinished = path.parent / f".{path.name}.{os.getpid()}"
    try:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
