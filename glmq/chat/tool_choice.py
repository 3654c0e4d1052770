"""Whether an answer may, must or must not call tools, as OpenAI's API says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glmq_kernels.errors import GlmqError

from .tool_results import function_of


@dataclass(frozen=True)
class ToolChoice:
    """offers_none: no tool is told of. must_call: the answer is a call. name: of the only tool to call."""

    offers_none: bool = False
    must_call: bool = False
    name: str | None = None

    def callable_tools(self, tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of the offered tools that the answer may call."""
        return [tool for tool in tools if self.name in (None, function_of(dict(tool)).get("name"))]


def tool_choice_of(choice: object, tools: Sequence[Mapping[str, Any]]) -> ToolChoice:
    """What a `tool_choice` means for these tools. Raises GlmqError for one that cannot be followed."""
    if choice is None or choice == "auto":
        return ToolChoice()
    if choice == "none":
        return ToolChoice(offers_none=True)
    if choice == "required":
        if not tools:
            raise GlmqError("tool_choice is 'required', but there are no tools")
        return ToolChoice(must_call=True)
    name = function_of(dict(choice)).get("name") if isinstance(choice, Mapping) else None
    if not isinstance(name, str):
        raise GlmqError("tool_choice must be 'auto', 'none', 'required' or name a function")
    if name not in [function_of(dict(tool)).get("name") for tool in tools]:
        raise GlmqError(f"tool_choice names {name!r}, which is none of the tools")
    return ToolChoice(must_call=True, name=name)
