"""The application: all routes, and what is told when something goes wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import llama_completion, llama_server, ollama, openapi, page, unsupported
from .anthropic import messages as anthropic_messages
from .api_error import ApiError, error_of
from .error_shapes import error_response
from .guard import Guard
from .log import log_request
from .openai import chat, completions, models, responses
from .service import Service
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

MAX_PATH = 200
"""Characters of a path in the log."""

ROUTES = [
    *chat.ROUTES,
    *completions.ROUTES,
    *responses.ROUTES,
    *models.ROUTES,
    *anthropic_messages.ROUTES,
    *llama_server.ROUTES,
    *llama_completion.ROUTES,
    *ollama.ROUTES,
    *unsupported.ROUTES,
    *openapi.ROUTES,
    *page.ROUTES,
]
"""All that is answered."""


def build_app(model: Model, settings: ServerSettings | None = None) -> Starlette:
    """An ASGI application that serves a model; `app.state.service` is what its routes share."""
    settings = settings or ServerSettings()
    service = Service(model, settings)
    app = Starlette(
        routes=ROUTES,
        middleware=[
            Middleware(Counted, service=service),
            *_cors(settings),
            Middleware(Guard, settings=settings),
        ],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error},
    )
    app.state.service = service
    return app


def _cors(settings: ServerSettings) -> list[Middleware]:
    """What lets web pages of other origins ask, where that is allowed."""
    if not settings.allow_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=("Retry-After",),
        )
    ]


class Counted:
    """Middleware that counts and logs requests: method, path, status and time, nothing of what they say.

    It also answers where something in the program goes wrong.
    """

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
        except Exception as error:
            self._service.log_fault("a request failed", error)
            if status:
                raise Broken from None
            await error_response(error_of(error), scope["path"])(scope, receive, send_counted)
        finally:
            self._service.metrics.count_request(status)
            figures = {
                "method": scope["method"],
                "path": quote(scope["path"][:MAX_PATH], safe="/:"),
                "status": status,
                "seconds": round(time.monotonic() - began, 3),
            }
            log_request("%(method)s %(path)s %(status)d %(seconds).2f s", figures)


class Broken(Exception):
    """A response that has begun cannot go on; the connection is closed."""


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error, request.url.path)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "there is nothing at this path", 405: "this path does not take this method"}
    message = told.get(error.status_code, str(error.detail))
    return error_response(ApiError(error.status_code, message), request.url.path)
