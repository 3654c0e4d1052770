"""Functions of the running program as tools. They share its memory, and nothing can stop a call of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import GlmqError

from .tool import Tool, ToolSource
from .toolbox import ToolBox

if TYPE_CHECKING:
    from .python_functions import PythonFunction

Tools = ToolBox | Iterable[ToolSource | Callable[..., Any]]
"""What a conversation takes as tools."""


def function_tools(functions: Iterable[Callable[..., Any]]) -> ToolSource:
    """Functions as tools, told as those of a file are (see `python_functions`).

    Raises GlmqError for a function that has no name, no docstring, or parameters without type hints.
    """
    return ToolSource(tuple(map(_tool, functions)))


def toolbox_of(tools: Iterable[ToolSource | Callable[..., Any]]) -> ToolBox:
    """A box of tools of sources and functions together. Raises GlmqError, with the sources closed."""
    tools = list(tools)
    sources = [each for each in tools if isinstance(each, ToolSource)]
    functions = [each for each in tools if not isinstance(each, ToolSource)]
    try:
        return ToolBox([*sources, function_tools(functions)])
    except GlmqError:
        for source in sources:
            source.close()
        raise


def _tool(function: Callable[..., Any]) -> Tool:
    from .python_functions import described_function

    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__name__", "")
    if code is None or not name.isidentifier():
        raise GlmqError(f"{function!r} cannot be a tool; give a function that has a name")
    path = Path(code.co_filename)
    described = described_function(name, function, path)
    return Tool(name, described.description, described.parameters, partial(_run, described), str(path))


def _run(function: PythonFunction, arguments: dict[str, Any], time_limit: float) -> str:
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        return function.call(arguments, loop)
    finally:
        loop.close()
