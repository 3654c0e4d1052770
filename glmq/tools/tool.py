"""What a tool is, and what a call of it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class ToolFailed(Exception):
    """A call failed. The message tells the model and the user why; it may have several lines."""


@dataclass(frozen=True)
class ToolResult:
    """What the model is told of a call. refused: it was not run, as the user did not want it."""

    text: str
    failed: bool = False
    refused: bool = False


@dataclass(frozen=True)
class Tool:
    """A tool that a model may call.

    parameters: a JSON schema of an object. run(arguments, time limit in seconds) gives the result's text;
    an exception is a failed call, and `ToolFailed` one that says all there is to say. origin: the file or
    server it comes from, for messages.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    run: Callable[[dict[str, Any], float], str]
    origin: str

    @property
    def definition(self) -> dict[str, Any]:
        """The form that chat templates and OpenAI's API take."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class ToolSource:
    """Tools that come from one place.

    close: ends what runs them. prefix: put before a tool's name where another source has that name too,
    with a number where sources share the prefix; without one the names must differ.
    """

    tools: tuple[Tool, ...]
    close: Callable[[], None] = _nothing
    prefix: str = ""
