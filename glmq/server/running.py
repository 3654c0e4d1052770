"""Listening, and the end: answers get some seconds more, and every stream ends with a proper last event."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from glmq_kernels.errors import GlmqError

from .app import build_app
from .service import Service
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

SECONDS_TO_SEND = 5
"""For streams to send their last events, after the answers have been ended."""


class ModelServer(uvicorn.Server):
    """Serves a model until it is told to end, by a signal or by `stop`."""

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        app = build_app(model, settings)
        self.service: Service = app.state.service
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=int(settings.grace_seconds) + SECONDS_TO_SEND,
            h11_max_incomplete_event_size=64 << 10,
        )
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen until the end."""
        self._loop = asyncio.get_running_loop()
        try:
            await super().serve(sockets)
        finally:
            self.service.end_answers()
            await asyncio.sleep(0)
            await asyncio.to_thread(self.service.close)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End, at a signal; without waiting for clients at the second one.

        The signal is not raised again afterwards, so that the model is closed and the exit code is 0.
        """
        self.force_exit = self.should_exit
        self.stop()

    def stop(self) -> None:
        """End; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self.service.end)
        self.should_exit = True


def listening_socket(settings: ServerSettings) -> socket.socket:
    """A socket at the address. Raises GlmqError when that cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, asyncio switches off the delay of small packets (Nagle's algorithm).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise GlmqError(
            f"cannot listen at {settings.host}, port {settings.port}: {reason}; choose another port",
            setting="port",
        ) from None
    return listening


def serve_model(model: Model, settings: ServerSettings, listening: socket.socket) -> None:
    """Serve a model at a socket until a signal ends it."""
    ModelServer(model, settings).run(sockets=[listening])
