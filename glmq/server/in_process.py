"""The server's application, called in this process instead of by HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, MutableMapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from .app import build_app
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

LOCAL_HEADERS = ((b"host", b"localhost"), (b"content-type", b"application/json"))


class InProcessServer:
    """Answers requests with a model. Of one event loop; close it in the end."""

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        self._app = build_app(model, settings)

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the JSON of a response that does not stream."""
        status, received = 0, bytearray()
        async with aclosing(
            self.messages("POST", path, LOCAL_HEADERS, json.dumps(body).encode())
        ) as messages:
            async for message in messages:
                status = message.get("status", status)
                received += message.get("body", b"")
        return status, json.loads(received)

    async def messages(
        self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> AsyncGenerator[MutableMapping[str, Any], None]:
        """What ASGI sends for a request, as it comes: "http.response.start", then "http.response.body".

        Closing this before the end tells the application that the client has gone away.
        """
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": list(headers),
            "server": ("localhost", 80),
            "client": None,
        }
        given = asyncio.Queue[MutableMapping[str, Any]]()
        given.put_nowait({"type": "http.request", "body": body, "more_body": False})
        sent = asyncio.Queue[MutableMapping[str, Any] | None]()
        answering = asyncio.ensure_future(self._app(scope, given.get, sent.put))
        answering.add_done_callback(lambda _: sent.put_nowait(None))
        try:
            while (message := await sent.get()) is not None:
                yield message
        finally:
            given.put_nowait({"type": "http.disconnect"})
            # An error has been logged and made the response, before it came out of the application.
            await asyncio.gather(answering, return_exceptions=True)

    def close(self) -> None:
        """End what is still being answered, and the threads."""
        self._app.state.service.end_answers()
        self._app.state.service.close()
