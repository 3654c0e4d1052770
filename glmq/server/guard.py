"""Who may ask: names under which the server is addressed, origins of web pages, and the key.

A web page may ask any address, 127.0.0.1 too, and a name may be made to stand for 127.0.0.1 (DNS rebinding).
So only known names are answered, and pages of other origins only where that is allowed.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api_error import ApiError
from .error_shapes import error_response
from .settings import ServerSettings

OPEN_PATHS = ("/", "/health", "/v1/health")
"""What needs no key."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")


class Guard:
    """Middleware that lets requests through or refuses them."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._key = None if settings.api_key is None else settings.api_key.encode()
        self._origins = settings.allow_origins
        self._names = {*LOCAL_NAMES, settings.host.lower(), *(name.lower() for name in settings.allow_hosts)}
        self._takes_addresses = settings.host in EVERYWHERE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cors = self._cors(headers)
        try:
            self._check_host(headers.get("host", ""))
            self._check_origin(headers)
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await Response(status_code=204, headers=cors)(scope, receive, send)
                return
            if scope["path"] not in OPEN_PATHS:
                self._check_key(headers)
        except ApiError as error:
            response = error_response(error, scope["path"])
            response.headers.update(cors)
            await response(scope, receive, send)
            return

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start" and cors:
                added = [(name.lower().encode(), value.encode()) for name, value in cors.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_cors)

    def _check_host(self, host: str) -> None:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            name = ""
        if name in self._names or (self._takes_addresses and _is_address(name)):
            return
        raise ApiError(403, f"the server does not answer to the name {name[:100]!r}", code="host_not_allowed")

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or self._allows(origin):
            return
        if origin != "null" and not origin.startswith(("http://", "https://")):
            return  # a program's own page
        if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise ApiError(403, "web pages of this origin may not ask here", code="origin_not_allowed")

    def _allows(self, origin: str) -> bool:
        return "*" in self._origins or origin in self._origins

    def _cors(self, headers: Headers) -> dict[str, str]:
        origin = headers.get("origin")
        if origin is None or not self._allows(origin):
            return {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "*"),
            "Access-Control-Max-Age": "600",
            "Vary": "Origin",
        }

    def _check_key(self, headers: Headers) -> None:
        if self._key is None:
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not hmac.compare_digest(shown.encode("latin-1", "replace"), self._key):
            raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
