"""The messages of a chat: a system message, turns, and files that keep them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glmq_kernels.errors import UserError

ROLES = ("system", "user", "assistant", "tool")


@dataclass
class Conversation:
    """A chat so far. `messages` are those that a chat template takes."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def system(self) -> str | None:
        """The system message's text."""
        if self.messages and self.messages[0]["role"] == "system":
            return str(self.messages[0]["content"])
        return None

    def set_system(self, text: str | None) -> None:
        """Set, replace or (None, empty) remove the system message."""
        turns = self.messages[1:] if self.system is not None else self.messages
        self.messages = [{"role": "system", "content": text}, *turns] if text else list(turns)

    def add(self, role: str, content: str) -> None:
        """Append a message."""
        self.messages.append({"role": role, "content": content})

    def drop_last(self) -> None:
        """Take back the last message."""
        self.messages.pop()

    def clear(self) -> None:
        """Forget everything but the system message."""
        self.messages = self.messages[:1] if self.system is not None else []

    def save(self, path: Path) -> None:
        """Write the messages as JSON. Raises UserError when that is not possible."""
        text = json.dumps({"messages": self.messages}, ensure_ascii=False, indent=1) + "\n"
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise UserError(f"{path} cannot be written: {error.strerror}") from None


def load_conversation(path: Path) -> Conversation:
    """Read messages that `save` wrote, or a plain JSON list of messages. Raises UserError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{path} is not JSON; load a file that /save has written") from None
    messages = content.get("messages") if isinstance(content, dict) else content
    if not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise UserError(f"{path} holds no list of messages with role and content; load a file of /save")
    return Conversation(messages)


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)
    )
