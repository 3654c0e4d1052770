"""Files of conversations: saved and loaded as JSON, or exported as Markdown or OpenAI's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Kind, check_target, write_file

from ..session_file import is_session_file, read_extra
from .conversation import Conversation
from .conversation_markdown import conversation_markdown
from .messages import Message, call_arguments, check_messages


def _saved(messages: Sequence[Message]) -> bytes:
    return _text_bytes(json.dumps({"messages": messages}, ensure_ascii=False, indent=1) + "\n")


def _exported(messages: Sequence[Message]) -> bytes:
    return _text_bytes(json.dumps(messages, ensure_ascii=False, indent=2) + "\n")


def _is_saved(path: Path) -> bool:
    return _holds(path, _saved, lambda content: content["messages"])


def _is_exported(path: Path) -> bool:
    return _holds(path, _exported, lambda content: content)


def _holds(path: Path, written: Callable[[Any], bytes], messages: Callable[[Any], Any]) -> bool:
    """Whether a file holds messages just as this module writes them."""
    with path.open("rb") as file:
        content = file.read(1)
        if content not in (b"{", b"["):  # before gigabytes of something else are read
            return False
        content += file.read()
    try:
        found = check_messages(messages(json.loads(content)))
    except (GlmqError, TypeError, LookupError):
        return False
    return written(found) == content


SAVED = Kind("a saved conversation", _is_saved)
EXPORTED = Kind("an exported conversation", _is_exported)


def save_conversation(conversation: Conversation, path: Path, *, force: bool = False) -> None:
    """Write the messages as JSON, in place of another saved conversation or, by force, of any file.

    Raises FileExists where only force does it, GlmqError when it is not possible.
    """
    write_file(check_target(path, SAVED, force=force), _saved(conversation.messages))


def load_conversation(path: Path) -> Conversation:
    """Read messages: saved or exported, any JSON list, or those of a session file. Raises GlmqError."""
    try:
        content = _content(path)
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise GlmqError(f"{path} is not JSON; load a file that a conversation was saved to") from None
    try:
        return Conversation(check_messages(content.get("messages") if isinstance(content, dict) else content))
    except GlmqError as error:
        raise GlmqError(f"{path} is no conversation: {error}") from None


def export_conversation(conversation: Conversation, path: Path, *, force: bool = False) -> None:
    """Write a conversation for others: Markdown for .md, a JSON list of OpenAI's messages for .json.

    JSON takes the place of another exported conversation. Of Markdown that is there nobody knows whether
    somebody has worked on it, so only force replaces it.
    Raises FileExists where only force does it, GlmqError for other names and when it is not possible.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        target = check_target(path, EXPORTED, force=force)
        write_file(target, _exported(_openai_messages(conversation.messages)))
    elif suffix in (".md", ".markdown"):
        target = check_target(path, force=force)
        write_file(target, _text_bytes(conversation_markdown(conversation.messages)))
    else:
        raise GlmqError(f"{path} ends with neither .md (Markdown) nor .json; name the file with one of them")


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


def _text_bytes(text: str) -> bytes:
    """UTF-8. Halves of characters become the escapes that JSON has for them."""
    return text.encode("utf-8", errors="backslashreplace")


def _content(path: Path) -> Any:
    """JSON that a file holds. Raises OSError, ValueError, RecursionError; GlmqError for no regular file."""
    if path.exists() and not path.is_file():
        raise GlmqError(f"{path} is not a file")
    if is_session_file(path):
        return read_extra(path)
    return json.loads(path.read_text(encoding="utf-8-sig"))
