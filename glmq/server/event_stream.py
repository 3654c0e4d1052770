"""Responses that stream, show life while nothing comes, and end when the client goes away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .api_error import ApiError, error_of
from .json_text import json_bytes

Result = TypeVar("Result")
log = logging.getLogger("glmq.server")
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all, or as much as the client stays for."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        tasks = {asyncio.ensure_future(self._send_all(send)), asyncio.ensure_future(_gone(receive))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._on_end()
        for task in done:
            task.result()

    async def _send_all(self, send: Send) -> None:
        following: asyncio.Future[bytes] | None = None
        try:
            while True:
                following = asyncio.ensure_future(_next(self._chunks))
                while not (await asyncio.wait({following}, timeout=self._seconds))[0]:
                    if self._ping:
                        await send({"type": "http.response.body", "body": self._ping, "more_body": True})
                if not (chunk := self._chunk(following)):
                    break
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if following is not None and not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            await self._chunks.aclose()

    def _chunk(self, following: asyncio.Future[bytes]) -> bytes:
        """What has come: the next chunk, the end, or an error, behind which the chunks are at their end."""
        try:
            return following.result()
        except Exception as error:
            told = error_of(error)
            if not isinstance(error, ApiError):
                log.error("a stream failed", exc_info=error)
            return self._failed(told)


async def _next(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """What comes next, nothing at the end."""
    async for chunk in chunks:
        if chunk:
            return chunk
    return b""


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
