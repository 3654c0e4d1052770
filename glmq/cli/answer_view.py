"""An answer on its way to the user: what is done with its thinking, its content and its tool calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

Thinking = Literal["folded", "unfolded", "hidden"]
Arguments = Mapping[str, Any] | str
"""Of a tool call, by name; text where they could not be read."""


class AnswerView(ABC):
    """Shows an answer while it streams. As a context manager it ends the view on errors and Ctrl-C too.

    Texts may be cut anywhere. Each method may be called again after any other, as in a turn with several
    tool calls.
    """

    @abstractmethod
    def reasoning(self, text: str, n_tokens: int = 1) -> None:
        """A piece of the thinking, made of that many tokens."""

    @abstractmethod
    def content(self, text: str) -> None:
        """A piece of the answer."""

    @abstractmethod
    def tool_call(self, name: str, text: str) -> None:
        """A piece of a tool call's arguments as the model writes them."""

    @abstractmethod
    def tool_call_end(
        self, name: str, arguments: Arguments, problem: str | None = None, *, asked: bool = False
    ) -> None:
        """A tool call is complete, or cannot be made for a reason. Nothing shown changes any more.

        asked: it is shown with the question whether it may run, and not here.
        """

    @abstractmethod
    def tool_result(self, name: str, text: str, failed: bool = False) -> None:
        """What a tool gave back; with its name when several were called at once."""

    @abstractmethod
    def remark(self, text: str) -> None:
        """Something that the user should know while the answer goes on."""

    @abstractmethod
    def end(self) -> None:
        """The answer is over, or stopped. The cursor is at the start of a row then."""

    def __enter__(self) -> AnswerView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()
