"""The connection to one Model Context Protocol server: its process, and a thread with an event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from .mcp_answers import MendedStream
from .processes import Tail

if TYPE_CHECKING:
    import anyio
    from mcp import Client, types
    from mcp.client._transport import TransportStreams

logging.getLogger("mcp").addHandler(logging.NullHandler())  # else its warnings go to the terminal


class McpConnection:
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
        from mcp import types

        parameters = types.CallToolRequestParams(name=name, arguments=arguments)
        try:
            # `call_tool` would check structured content too, and lose it where a schema cannot be used.
            return await self._client.session.send_request(
                types.CallToolRequest(params=parameters), types.CallToolResult
            )
        except Exception as error:
            self.ended = self.ended or is_end(error)
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
            transport = _mending(stdio_client(server, complaints))
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


@asynccontextmanager
async def _mending(
    transport: AbstractAsyncContextManager[TransportStreams],
) -> AsyncIterator[TransportStreams]:
    """A transport whose answers are mended on their way."""
    async with transport as (reading, writing):
        yield MendedStream(reading), writing


async def _all_tools(client: Client) -> list[types.Tool]:
    """The tools of all pages, the first of each name."""
    page = await client.list_tools()
    tools = list(page.tools)
    cursors: set[str] = set()
    while page.next_cursor is not None and page.next_cursor not in cursors:
        cursors.add(page.next_cursor)
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return list({tool.name: tool for tool in reversed(tools)}.values())[::-1]


def _innermost(error: BaseException) -> BaseException:
    """The first exception in groups of them."""
    while inside := getattr(error, "exceptions", ()):
        error = inside[0]
    return error


def is_end(error: Exception) -> bool:
    """Whether a request failed because the server is gone."""
    from mcp import MCPError
    from mcp.types import CONNECTION_CLOSED

    closed = "Connection closed"  # servers may use the number for errors of their own
    return isinstance(error, MCPError) and error.code == CONNECTION_CLOSED and error.message == closed
