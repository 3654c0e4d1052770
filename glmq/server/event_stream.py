"""Responses that stream, show life while nothing comes, and end when the client goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .api_error import ApiError, error_of
from .json_text import json_bytes
from .log import log_fault

Result = TypeVar("Result")
COMMENT = b":\n\n"
"""A line that every reader of events passes over."""


def data_line(value: Any) -> bytes:
    """An event without a name."""
    return b"data: " + json_bytes(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """An event with a name."""
    return b"event: " + name.encode() + b"\ndata: " + json_bytes(value) + b"\n\n"


def comment(text: str) -> bytes:
    """A comment, which readers pass over."""
    return f": {text}\n\n".encode()


class EventStream(Response):
    """Sends what `chunks` gives.

    failed: what is sent last when an error ends it. on_end: called in the end. ping: sent after so many
    seconds of silence.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        seconds: float,
        on_end: Callable[[], None],
        failed: Callable[[ApiError], bytes],
        ping: bytes = COMMENT,
        media_type: str = "text/event-stream",
    ) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type=media_type)
        del self.headers["content-length"]
        self._chunks, self._seconds, self._ping = chunks, seconds, ping
        self._on_end, self._failed = on_end, failed
        self._sent_at = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all, or as much as the client stays for."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send_all(send))
        gone = asyncio.ensure_future(_gone(receive))
        pinging = asyncio.ensure_future(self._show_life(send))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = sending.done()
            for task in (sending, gone, pinging):
                task.cancel()
            await asyncio.gather(sending, gone, pinging, return_exceptions=True)
            self._on_end()
        if ended:
            sending.result()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._all_chunks()) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._sent_at = time.monotonic()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _all_chunks(self) -> AsyncGenerator[bytes, None]:
        """What is to be sent; in the end what is told of an error, if one ends it."""
        try:
            async with aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    if chunk:
                        yield chunk
        except Exception as error:
            if not isinstance(error, ApiError):
                log_fault("a stream failed", error, whole=False)
            yield self._failed(error_of(error))

    async def _show_life(self, send: Send) -> None:
        """Send pings while nothing else is sent."""
        while self._ping:
            silence = time.monotonic() - self._sent_at
            if silence >= self._seconds:
                await send({"type": "http.response.body", "body": self._ping, "more_body": True})
                self._sent_at, silence = time.monotonic(), 0.0
            await asyncio.sleep(self._seconds - silence)


async def _gone(receive: Receive) -> None:
    """Wait until the client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` gives; it is cancelled when the client goes away before that."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(499, "the client went away")
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
