"""Tools of Model Context Protocol servers that are started here and spoken to over their standard streams.

The protocol: https://modelcontextprotocol.io/specification. The official package speaks it.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import GlmqError

from ..optional_packages import optional_packages
from .mcp_answers import NOT_SHOWN
from .tool import Tool, ToolFailed, ToolSource

if TYPE_CHECKING:
    from mcp import types

    from .mcp_connection import McpConnection

START_LIMIT = 60.0
"""Seconds that a server may take to tell its tools; some are downloaded at their first start."""


def mcp_tools(command: str, start_limit: float = START_LIMIT) -> ToolSource:
    """Start a server and list its tools.

    command: program and arguments as in a shell, which is not used; it has all environment variables.
    A server that has ended is started again by the next call. Raises GlmqError when it cannot be
    started or does not speak the protocol.
    """
    with optional_packages():
        import_module("mcp")
    server = McpServer(command, start_limit)
    tools, prefix = server.start()
    origin = f"the MCP server {command}"
    try:
        return ToolSource(
            tuple(
                Tool(
                    name,
                    tool.description or tool.title or "",
                    tool.input_schema,
                    partial(server.call, tool.name),
                    origin,
                )
                for name, tool in _named(tools).items()
            ),
            server.close,
            prefix,
        )
    except BaseException:
        server.close()
        raise


def _named(tools: Sequence[types.Tool]) -> dict[str, types.Tool]:
    """Tools by names that models can write and programs tell apart: `get weather` is `get_weather`."""
    named: dict[str, types.Tool] = {}
    for tool in tools:
        name = re.sub(r"[^\w.:/-]+", "_", tool.name.strip())
        other = (f"{name}_{n}" for n in count(2))
        while name in named:
            name = next(other)
        named[name] = tool
    return named


class McpServer:
    """A server's command, and the connection to it while there is one."""

    def __init__(self, command: str, start_limit: float) -> None:
        try:
            self._words = shlex.split(command, posix=sys.platform != "win32")
        except ValueError as error:
            raise GlmqError(f"the command {command} cannot be read: {error}") from None
        if not self._words:
            raise GlmqError("the command of an MCP server is empty")
        self._command, self._start_limit = command, start_limit
        self._lock = threading.Lock()
        self._connection: McpConnection | None = None

    def start(self) -> tuple[list[types.Tool], str]:
        """Connect; gives the server's tools and a name for it. Raises GlmqError."""
        from .mcp_connection import McpConnection

        connection = McpConnection(self._words, self._start_limit)
        try:
            tools, name = connection.ready.result()
        except BaseException as error:
            connection.close()
            if not isinstance(error, Exception):
                raise
            reason = " · ".join(self._reasons(error, connection))
            raise GlmqError(f"the MCP server {self._command} {reason}") from None
        self._connection = connection
        return tools, re.sub(r"\W+", "_", name or Path(self._words[0]).stem)

    def call(self, name: str, arguments: dict[str, Any], time_limit: float) -> str:
        """The text of a tool's result. Raises ToolFailed."""
        from concurrent.futures import TimeoutError as FutureTimeout

        connection = self._connected()
        future = connection.submit(name, arguments)
        try:
            result = future.result(time_limit)
        except FutureTimeout:
            future.cancel()
            raise ToolFailed(f"{name} was stopped after {time_limit:g} s") from None
        except Exception as error:
            if not connection.ended:
                raise ToolFailed(f"{name} failed: {error}") from None
            connection.close()
            ended = f"{name} failed: the MCP server has ended; the next call starts it again"
            raise ToolFailed(f"{ended}\n{connection.said_last()}".strip()) from None
        except BaseException:
            future.cancel()
            raise
        if result.is_error:
            raise ToolFailed(f"{name} failed: {result_text(result)}")
        return result_text(result)

    def _reasons(self, error: Exception, connection: McpConnection) -> Iterator[str]:
        """Why a server could not be started, and what it said meanwhile."""
        from .mcp_connection import is_end

        if isinstance(error, FileNotFoundError):
            yield "cannot be started: there is no such program"
        elif isinstance(error, OSError) and error.strerror:
            yield f"cannot be started: {error.strerror}"
        elif isinstance(error, TimeoutError):
            yield f"did not answer within {self._start_limit:g} s"
        else:
            yield "has ended" if is_end(error) else f"cannot be used: {' '.join(str(error).split())}"
        if connection.noise:
            yield f"it wrote what is not the protocol: {connection.noise!r}"
        yield from connection.said_last().splitlines()

    def _connected(self) -> McpConnection:
        with self._lock:
            if self._connection is None or self._connection.ended:
                self.close()
                try:
                    self.start()
                except GlmqError as error:
                    raise ToolFailed(str(error)) from None
            assert self._connection
            return self._connection

    def close(self) -> None:
        """End the server."""
        connection, self._connection = self._connection, None
        if connection:
            connection.close()


def result_text(result: types.CallToolResult) -> str:
    """What a model that reads only text is told of a result.

    Structured content follows the texts, as JSON, unless they say the same.
    """
    texts = [_block_text(block) for block in result.content]
    structured = result.structured_content
    if structured is not None and not _is_said(structured, texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(texts) or "(no output)"


def _is_said(structured: Any, texts: Sequence[str]) -> bool:
    """Whether a text, or all of them as a list, is the structured content.

    Servers put what is no object into one as its only value, such as its `result` or `content`.
    """
    values = [structured]
    if isinstance(structured, dict) and len(structured) == 1:
        values += structured.values()
    read = [_read(text) for text in texts]
    return any(value in (*texts, *read, list(texts), read) for value in values)


def _read(text: str) -> Any:
    """A text's value where it is JSON, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _block_text(block: types.ContentBlock) -> str:
    if block.type == "text":
        return block.text
    if block.type == "resource_link":
        return f"[{block.name}: {block.uri}]"
    if block.type == "resource":
        text = getattr(block.resource, "text", None)
        return text if text is not None else f"[{block.resource.uri}, not shown: it is no text]"
    return f"[{block.type} of the type {block.mime_type}, {NOT_SHOWN}]"
