"""An answer on its way to the user: what is done with its thinking, its content and its tool calls."""

from __future__ import annotations

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

Thinking = Literal["folded", "unfolded", "hidden"]
Arguments = Mapping[str, Any] | str
"""Of a tool call, by name; text where they could not be read."""

LONGEST_VALUE = 60
RESULT_LINES = 3


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


def answer_view(*, markdown: bool = True, thinking: Thinking = "folded") -> AnswerView:
    """The view that standard output allows.

    A terminal shows Markdown (or, without `markdown`, text as it comes) and folds the thinking when it ends.
    Where the cursor cannot be moved (TERM=dumb), and through a pipe, content goes to standard output and
    everything else to standard error.
    """
    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        from .terminal_answer import TerminalAnswer

        return TerminalAnswer(sys.stdout, markdown=markdown, thinking=thinking)
    from .plain_answer import PlainAnswer

    return PlainAnswer(sys.stdout, sys.stderr, thinking=thinking)


def call_line(name: str, arguments: Arguments) -> str:
    """A tool call in one line, long values cut."""
    if isinstance(arguments, str):
        return f"{name}({_cut(arguments)})"
    values = (f"{key}={_cut(json.dumps(value, ensure_ascii=False))}" for key, value in arguments.items())
    return f"{name}({', '.join(values)})"


def result_lines(text: str, failed: bool, name: str = "") -> list[str]:
    """The first lines of what a tool gave, and how many more there are. name: where it must be told."""
    lines = text.strip().split("\n") if text.strip() else ["(nothing)"]
    first = lines[:RESULT_LINES]
    if failed:
        first[0] = f"failed: {first[0]}"
    if name:
        first[0] = f"{name}: {first[0]}"
    if n_more := len(lines) - len(first):
        first.append(f"… {n_more} more line{'s' if n_more > 1 else ''}")
    return first


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_VALUE else line[: LONGEST_VALUE - 1] + "…"
