"""The tools of a conversation, by name, and calls of them that always give a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Any

from glmq_kernels.errors import GlmqError

from .call_arguments import arguments_problem, unchecked_reason
from .tool import Tool, ToolFailed, ToolResult, ToolSource

TIME_LIMIT = 60.0
MAX_CHARACTERS = 20_000
"""Of a result: some 5000 tokens."""


ANY_ARGUMENTS = {"type": "object"}


class ToolBox:
    """Tools from several sources. Close it, or use it in a `with` statement: it ends their processes.

    time_limit: seconds for a call; max_characters: what is longer is cut. Raises GlmqError, with the
    sources closed, when two tools have one name.
    """

    def __init__(
        self,
        sources: Iterable[ToolSource] = (),
        *,
        time_limit: float = TIME_LIMIT,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        self._time_limit, self._max_characters = time_limit, max_characters
        sources = list(sources)
        self._closing = ExitStack()
        for source in sources:
            self._closing.callback(source.close)
        try:
            self.tools: dict[str, Tool] = _by_name(sources)
        except GlmqError:
            self.close()
            raise

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """All tools, in the form that chat templates take as `tools`."""
        return [tool.definition for tool in self.tools.values()]

    @cached_property
    def unchecked(self) -> dict[str, str]:
        """Why arguments cannot be checked here, by the names of the tools: what runs these has to do it."""
        reasons = {name: unchecked_reason(tool.parameters) for name, tool in self.tools.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def problem(self, name: str, arguments: Any) -> str | None:
        """Why a call cannot be made, for the model to read, or None."""
        tool = self.tools.get(name)
        if tool is None:
            return f"there is no tool {name}; there is {', '.join(self.tools) or 'none'}"
        schema = ANY_ARGUMENTS if name in self.unchecked else tool.parameters
        problem = arguments_problem(arguments, schema)
        return None if problem is None else f"the arguments of {name} cannot be used: {problem}"

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Run a tool. What goes wrong is told in the result; only KeyboardInterrupt is raised."""
        problem = self.problem(name, arguments)
        if problem is not None:
            return ToolResult(f"Error: {problem}", failed=True)
        try:
            return ToolResult(self._shortened(self.tools[name].run(arguments, self._time_limit)))
        except ToolFailed as error:
            text = str(error)
        except (Exception, SystemExit) as error:
            text = f"{name} failed: {type(error).__name__}: {error}"
        return ToolResult(self._shortened(f"Error: {text}"), failed=True)

    def _shortened(self, text: str) -> str:
        """Text that can be encoded, cut to the longest that a result may be."""
        text = text.encode("utf-8", "replace").decode()
        n_left_out = len(text) - self._max_characters
        if n_left_out <= 0:
            return text
        return f"{text[: self._max_characters]}\n[cut here: {n_left_out} more characters were left out]"

    def close(self) -> None:
        """End the processes of all sources."""
        self._closing.close()

    def __enter__(self) -> ToolBox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _by_name(sources: Iterable[ToolSource]) -> dict[str, Tool]:
    """All tools, those of equal names with their source's prefix. Raises GlmqError."""
    sources = list(sources)
    numbers: Counter[str] = Counter()
    pairs = []
    for source in sources:
        numbers[source.prefix] += 1
        number = numbers[source.prefix]
        prefix = source.prefix if number == 1 or not source.prefix else f"{source.prefix}_{number}"
        pairs += [(prefix, tool) for tool in source.tools]
    shared = Counter(tool.name for _, tool in pairs)
    tools: dict[str, Tool] = {}
    for prefix, tool in pairs:
        if prefix and shared[tool.name] > 1:
            tool = replace(tool, name=f"{prefix}_{tool.name}")
        if tool.name in tools:
            origins = f"{tools[tool.name].origin} and {tool.origin}"
            raise GlmqError(f"there are two tools of the name {tool.name}, from {origins}; rename one")
        tools[tool.name] = tool
    return tools
