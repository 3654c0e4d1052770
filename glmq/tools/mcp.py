"""Tools of Model Context Protocol servers that are started here and spoken to over their standard streams.

The protocol: https://modelcontextprotocol.io/specification. The official package speaks it, in a thread
with an event loop of its own for each server.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shlex
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import UserError

from .processes import Tail
from .tool import Tool, ToolFailed, ToolSource

if TYPE_CHECKING:
    import anyio
    from mcp import Client, types

START_LIMIT = 60.0
"""Seconds that a server may take to tell its tools; some are downloaded at their first start."""

MAX_PAGES = 1000
"""Of a list of tools."""


def mcp_tools(command: str, start_limit: float = START_LIMIT) -> ToolSource:
    """Start a server and list its tools.

    command: program and arguments as in a shell, which is not used; it has all environment variables.
    A server that has ended is started again by the next call. Raises UserError when it cannot be
    started or does not speak the protocol.
    """
    server = McpServer(command, start_limit)
    tools, prefix = server.start()
    origin = f"the MCP server {command}"
    try:
        return ToolSource(
            tuple(
                Tool(
                    tool.name,
                    tool.description or tool.title or "",
                    tool.input_schema,
                    partial(server.call, tool.name),
                    origin,
                )
                for tool in tools
            ),
            server.close,
            prefix,
        )
    except BaseException:
        server.close()
        raise


class McpServer:
    """A server's command, and the connection to it while there is one."""

    def __init__(self, command: str, start_limit: float) -> None:
        try:
            self._words = shlex.split(command, posix=os.name == "posix")
        except ValueError as error:
            raise UserError(f"the command {command} cannot be read: {error}") from None
        if not self._words:
            raise UserError("the command of an MCP server is empty")
        self._command, self._start_limit = command, start_limit
        self._lock = threading.Lock()
        self._connection: _Connection | None = None

    def start(self) -> tuple[list[types.Tool], str]:
        """Connect; gives the server's tools and a name for it. Raises UserError."""
        connection = _Connection(self._words, self._start_limit)
        try:
            tools, name = connection.ready.result()
        except BaseException as error:
            connection.close()
            if not isinstance(error, Exception):
                raise
            reason = " · ".join(self._reasons(error, connection))
            raise UserError(f"the MCP server {self._command} {reason}") from None
        self._connection = connection
        return tools, re.sub(r"\W+", "_", name or Path(self._words[0]).stem)

    def call(self, name: str, arguments: dict[str, Any], time_limit: float) -> str:
        """The text of a tool's result. Raises ToolFailed."""
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

    def _reasons(self, error: Exception, connection: _Connection) -> Iterator[str]:
        """Why a server could not be started, and what it said meanwhile."""
        if isinstance(error, FileNotFoundError):
            yield "cannot be started: there is no such program"
        elif isinstance(error, OSError) and error.strerror:
            yield f"cannot be started: {error.strerror}"
        elif isinstance(error, TimeoutError):
            yield f"did not answer within {self._start_limit:g} s"
        else:
            yield "has ended" if _is_end(error) else f"cannot be used: {error}"
        if connection.noise:
            yield f"it wrote what is not the protocol: {connection.noise!r}"
        yield from connection.said_last().splitlines()

    def _connected(self) -> _Connection:
        with self._lock:
            if self._connection is None or self._connection.ended:
                self.close()
                try:
                    self.start()
                except UserError as error:
                    raise ToolFailed(str(error)) from None
            assert self._connection
            return self._connection

    def close(self) -> None:
        """End the server."""
        connection, self._connection = self._connection, None
        if connection:
            connection.close()


class _Connection:
    """A thread that starts a server, keeps it and ends it.

    ready: its tools and its name, when it has told them. noise: a line it wrote that was not the protocol.
    """

    def __init__(self, words: list[str], start_limit: float) -> None:
        self.ready: Future[tuple[list[types.Tool], str]] = Future()
        self.noise = ""
        self.ended = False
        self._complaints: Tail | None = None
        self._words, self._start_limit = words, start_limit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scope: anyio.CancelScope | None = None
        self._client: Client | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"MCP {words[0]}")
        self._thread.start()

    def said_last(self) -> str:
        """The end of what the server wrote to standard error, when it has been closed."""
        return self._complaints.text() if self._complaints else ""

    def submit(self, name: str, arguments: dict[str, Any]) -> Future[types.CallToolResult]:
        """Begin a call."""
        assert self._loop
        return asyncio.run_coroutine_threadsafe(self._call(name, arguments), self._loop)

    async def _call(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        assert self._client
        try:
            return await self._client.call_tool(name, arguments)
        except Exception as error:
            self.ended = self.ended or _is_end(error)
            raise

    def close(self) -> None:
        """End the server, in at most some seconds."""
        self._closing = True
        if self._loop and self._scope:
            with suppress(RuntimeError):  # when the loop has ended already
                self._loop.call_soon_threadsafe(self._scope.cancel)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if not self.ready.done():
                self.ready.set_exception(_innermost(error))
        finally:
            self.ended = True

    async def _serve(self) -> None:
        import anyio
        from mcp import Client, StdioServerParameters, stdio_client

        logging.getLogger("mcp").addHandler(logging.NullHandler())  # else its warnings go to the terminal
        server = StdioServerParameters(
            command=self._words[0],
            args=self._words[1:],
            env=dict(os.environ),
            encoding_error_handler="replace",
        )
        reading, writing = os.pipe()
        self._complaints = Tail(os.fdopen(reading, "rb"))
        self._loop = asyncio.get_running_loop()
        with os.fdopen(writing, "w") as complaints, anyio.CancelScope() as self._scope:
            self._scope.deadline = anyio.current_time() + self._start_limit
            if self._closing:
                return
            transport = stdio_client(server, complaints)
            async with Client(transport, message_handler=self._note, cache=None) as self._client:
                tools = await _all_tools(self._client)
                self._scope.deadline = float("inf")
                info = self._client.server_info
                self.ready.set_result((tools, info.name if info else ""))
                await anyio.sleep_forever()
        if not self.ready.done():
            raise TimeoutError

    async def _note(self, message: Any) -> None:
        from pydantic import ValidationError

        if isinstance(message, ValidationError):
            self.noise = str(message.errors()[0]["input"])[:200]


async def _all_tools(client: Client) -> list[types.Tool]:
    tools: list[types.Tool] = []
    cursor = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


def _innermost(error: BaseException) -> BaseException:
    """The first exception in groups of them."""
    while inside := getattr(error, "exceptions", ()):
        error = inside[0]
    return error


def _is_end(error: Exception) -> bool:
    """Whether a request failed because the server is gone."""
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED


def result_text(result: types.CallToolResult) -> str:
    """What a model that reads only text is told of a result.

    Structured content is given where there is no text, which otherwise says the same.
    """
    texts = [_block_text(block) for block in result.content]
    if not texts and result.structured_content is not None:
        texts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(texts) or "(no output)"


def _block_text(block: types.ContentBlock) -> str:
    if block.type == "text":
        return block.text
    if block.type == "resource_link":
        return f"[{block.name}: {block.uri}]"
    if block.type == "resource":
        text = getattr(block.resource, "text", None)
        return text if text is not None else f"[{block.resource.uri}, not shown: it is no text]"
    return f"[{block.type} of the type {block.mime_type}, not shown: the model reads only text]"
