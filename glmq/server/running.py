"""A server's life: it listens until it is told to end; then every stream ends with a proper last event."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from .app import build_app
from .connection import KEEP_ALIVE_SECONDS, MAX_HEADERS, connection_class
from .service import Service
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

SECONDS_TO_SEND = 5.0
"""For streams to send their last events, after the answers have been ended."""


class ModelServer(uvicorn.Server):
    """Serves a model until it is told to end, by a signal or by `stop`."""

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        app = build_app(model, settings)
        self.service: Service = app.state.service
        config = uvicorn.Config(
            app,
            http=connection_class(settings.header_seconds),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.grace_seconds + SECONDS_TO_SEND,  # type: ignore[arg-type]
            h11_max_incomplete_event_size=MAX_HEADERS,
        )
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._n_signals = 0

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen until the end."""
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            self._begin_to_end()
        try:
            await super().serve(sockets)
        finally:
            self.service.end_answers()
            await asyncio.to_thread(self.service.close)

    async def main_loop(self) -> None:
        """Wait for the end. Nothing happens meanwhile by the clock, so that an idle server costs nothing."""
        await self._ending.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, at a signal; at the second one without grace, at the third without waiting for clients.

        The signal is not raised again afterwards, so that the model is closed and the exit code is 0.
        """
        self._n_signals += 1
        self.force_exit = self._n_signals > 2
        self.stop()
        if self._n_signals == 2:
            self._call(self.service.end_answers)

    def stop(self) -> None:
        """End; from any thread."""
        self.should_exit = True
        self._call(self._begin_to_end)

    def _begin_to_end(self) -> None:
        self._ending.set()
        self.service.end()

    def _call(self, *what: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(*what)  # type: ignore[arg-type]


def serve_model(model: Model, settings: ServerSettings, listening: socket.socket) -> None:
    """Serve a model at a socket until a signal ends it."""
    ModelServer(model, settings).run(sockets=[listening])
