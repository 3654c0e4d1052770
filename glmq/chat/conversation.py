"""The conversation of a chat: a system message, then turns, each a user's message and all that answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from glmq_kernels.errors import GlmqError

from .messages import SYSTEM_ROLES, Message, text_of

SUMMARY = "Summary of our conversation so far:\n\n"
SUMMARY_ANSWER = "I go on from there."


@dataclass
class Conversation:
    """A chat so far. `messages` are those that a chat template takes (see `messages.py`)."""

    messages: list[Message] = field(default_factory=list)

    @property
    def system(self) -> str | None:
        """The system message's text."""
        return text_of(self.messages[0]) if self._n_system() else None

    def set_system(self, text: str | None) -> None:
        """Set, replace or (None, empty) remove the system message."""
        turns = self.messages[self._n_system() :]
        self.messages = [{"role": "system", "content": text}, *turns] if text else turns

    @property
    def n_turns(self) -> int:
        """How many messages of the user there are."""
        return len(self._turn_starts())

    def add(self, role: str, content: str, **more: Any) -> None:
        """Append a message.

        more: `thinking` of a user's, `reasoning_content` and `tool_calls` of an assistant's, `tool_call_id`
        and `name` of a tool's. None and what is empty is left out, but the empty thinking of an answer that
        holds a tag of thinking as text: templates would look for its thinking there.
        """
        message = {"role": role, "content": content}
        message |= {key: value for key, value in more.items() if value not in (None, "", [], ())}
        if role == "assistant" and "</think>" in content:
            message.setdefault("reasoning_content", "")
        self.messages.append(message)

    def undo(self) -> str:
        """Take back the last turn; gives its question. Raises GlmqError when there is none."""
        start = self._last_turn()
        question = text_of(self.messages[start])
        del self.messages[start:]
        return question

    def retry(self) -> None:
        """Take back what answers the last question. Raises GlmqError when there is no question."""
        del self.messages[self._last_turn() + 1 :]

    def edit(self, text: str) -> None:
        """Replace the last question and take back its answer. Raises GlmqError when there is none."""
        start = self._last_turn()
        self.messages[start:] = [{**self.messages[start], "content": text}]

    def clear(self) -> None:
        """Forget everything but the system message."""
        del self.messages[self._n_system() :]

    def oldest(self, n_turns: int) -> list[Message]:
        """The messages of the oldest turns, and any before them. Raises GlmqError when there are fewer."""
        return self.messages[self._n_system() : self._end_of_turn(n_turns)]

    def drop_oldest(self, n_turns: int) -> None:
        """Forget the oldest turns. Raises GlmqError when there are fewer."""
        del self.messages[self._n_system() : self._end_of_turn(n_turns)]

    def replace_oldest(self, n_turns: int, summary: str) -> None:
        """Put a turn with a summary in place of the oldest turns. Raises GlmqError when there are fewer."""
        self.messages[self._n_system() : self._end_of_turn(n_turns)] = [
            {"role": "user", "content": SUMMARY + summary.strip()},
            {"role": "assistant", "content": SUMMARY_ANSWER},
        ]

    def _n_system(self) -> int:
        return int(bool(self.messages) and self.messages[0]["role"] in SYSTEM_ROLES)

    def _turn_starts(self) -> list[int]:
        return [i for i, message in enumerate(self.messages) if message["role"] == "user"]

    def _last_turn(self) -> int:
        starts = self._turn_starts()
        if not starts:
            raise GlmqError("the conversation has no message of yours yet")
        return starts[-1]

    def _end_of_turn(self, n_turns: int) -> int:
        starts = self._turn_starts()
        if not 1 <= n_turns <= len(starts):
            raise GlmqError(f"{n_turns} turns cannot go; the conversation has {len(starts)}")
        return [*starts, len(self.messages)][n_turns]
