"""The server's application, called in this process instead of by HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from ..server.app import build_app
from ..server.settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

NO_LIMIT = 10**9


class InProcessServer:
    """Answers requests with a model, `n_parallel` at once. Of one event loop; close it in the end."""

    def __init__(self, model: Model, n_parallel: int) -> None:
        self._app = build_app(model, ServerSettings(n_parallel=n_parallel, n_queue=NO_LIMIT))

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the JSON of the response."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "server": ("localhost", 80),
            "client": None,
        }
        sent = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        status, received = 0, bytearray()

        async def receive() -> MutableMapping[str, Any]:
            if not sent:
                await asyncio.Event().wait()  # the client does not go away
            return sent.pop()

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            received.extend(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, json.loads(received)

    def close(self) -> None:
        """End what is still being answered, and the threads."""
        self._app.state.service.end_answers()
        self._app.state.service.close()
