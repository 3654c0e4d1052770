"""Definitions of tools for a chat template: functions in OpenAI's form, or in its plainer one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from glmq_kernels.errors import GlmqError

from .plain_data import plain_data
from .template import ChatTemplate
from .tool_results import function_of

_PROBE = "glmq_asks_for_this_tool"
_QUESTION = {"role": "user", "content": "?"}


def check_tools(tools: object) -> list[dict[str, Any]]:
    """A copy of the definitions as plain data. None is no tool.

    Raises TypeError for what is no list, and GlmqError that names the first definition that is not whole.
    """
    if tools is None:
        return []
    if not isinstance(tools, (list, tuple)):
        raise TypeError(f"tools is a {type(tools).__name__}; it must be a list of definitions of functions")
    names: list[str] = []
    definitions = [plain_data(tool, f"tool {number}") for number, tool in enumerate(tools, 1)]
    for number, tool in enumerate(definitions, 1):
        if not isinstance(tool, dict):
            raise GlmqError(f"tool {number} is no object with a name; give definitions in OpenAI's form")
        if tool.get("type") not in (None, "function") and "parameters" not in tool:
            raise GlmqError(f"tool {number} is of the type {tool['type']}; GLM models call functions only")
        function = function_of(tool)
        name = function.get("name")
        if not isinstance(name, str) or not name.strip():
            raise GlmqError(f"tool {number} has no name")
        if not isinstance(function.get("parameters"), (dict, type(None))):
            raise GlmqError(f"tool {number}, {name}, has parameters that are no JSON schema of an object")
        if not isinstance(function.get("description"), (str, type(None))):
            raise GlmqError(f"tool {number}, {name}, has a description that is no text")
        if name in names:
            raise GlmqError(f"tools {names.index(name) + 1} and {number} have one name, {name}; rename one")
        names.append(name)
    return definitions


@lru_cache(maxsize=16)
def knows_tools(template: ChatTemplate) -> bool:
    """Whether a template tells the model of tools, found by rendering one with it."""
    function = {"name": _PROBE, "description": "Nothing.", "parameters": {"type": "object", "properties": {}}}
    tool = {"type": "function", "function": function}
    for messages in ([_QUESTION], [{"role": "system", "content": "?"}, _QUESTION]):
        try:
            return _PROBE in template.render(messages, tools=[tool])
        except GlmqError:
            continue
    return "tools" in template.source


def require_tools(template: ChatTemplate) -> None:
    """Raise GlmqError when a template tells of no tools."""
    if not knows_tools(template):
        raise GlmqError(
            "the model's chat template tells of no tools, so that it cannot call any", setting="tools"
        )
