"""A connection over HTTP/1.1 that does not wait for ever for a request that comes byte by byte."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept; more than clients keep theirs, so that none closes as it is used."""

MAX_HEADERS = 64 << 10
"""Bytes of the head of a request."""


class Connection(H11Protocol):
    """Is closed when the head of a request does not come within `header_seconds`.

    These begin with the connection, and later with the first byte that comes while nothing is answered.
    """

    header_seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, or answer."""
        super().data_received(data)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """Be ready for another request."""
        super().on_response_complete()
        self._stop_waiting()
        if self.conn.trailing_data[0]:  # another request has begun to come
            self._wait()

    def _wait(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def connection_class(header_seconds: float) -> type[Connection]:
    """Connections that wait so long for the head of a request."""
    attributes: dict[str, Any] = {"header_seconds": header_seconds}
    return type("Connection", (Connection,), attributes)
