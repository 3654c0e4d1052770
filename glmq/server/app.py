"""The application: all routes, and what is told when something goes wrong."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import llama_server, ollama
from .anthropic import messages as anthropic_messages
from .api_error import ApiError
from .error_shapes import error_response
from .guard import Guard
from .openai import chat, completions, models, responses
from .service import Service
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

log = logging.getLogger("glmq.server")

ROUTES = [
    *chat.ROUTES,
    *completions.ROUTES,
    *responses.ROUTES,
    *models.ROUTES,
    *anthropic_messages.ROUTES,
    *llama_server.ROUTES,
    *ollama.ROUTES,
]
"""All that is answered."""


def build_app(model: Model, settings: ServerSettings | None = None) -> Starlette:
    """An ASGI application that serves a model; `app.state.service` is what its routes share."""
    settings = settings or ServerSettings()
    service = Service(model, settings)
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(Counted, service=service), Middleware(Guard, settings=settings)],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _internal_error},
    )
    app.state.service = service
    return app


class Counted:
    """Middleware that counts and logs requests: method, path, status and time, nothing of what they say."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._service.metrics.n_requests += 1
            self._service.metrics.n_refused += status >= 400
            log.info("%s %s %d %.2f s", scope["method"], scope["path"], status, time.monotonic() - began)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error, request.url.path)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "there is nothing at this path", 405: "this path does not take this method"}
    message = told.get(error.status_code, str(error.detail))
    return error_response(ApiError(error.status_code, message), request.url.path)


async def _internal_error(request: Request, error: Exception) -> Response:
    log.error("internal error", exc_info=error)
    message = "internal error; the server's log tells more"
    return error_response(ApiError(500, message, code="internal_error"), request.url.path)
