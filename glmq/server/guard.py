"""Who may ask: names under which the server is addressed, origins of web pages, and the key.

A web page may ask any address, 127.0.0.1 too, and a name may be made to stand for 127.0.0.1 (DNS rebinding).
So only known names are answered, and addresses, which nobody can make stand for something else; and pages of
other origins only where that is allowed.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .api_error import ApiError
from .error_shapes import error_response
from .settings import ServerSettings

OPEN_PATHS = ("/", "/health", "/v1/health")
"""What needs no key."""

LOCAL_NAME = "localhost"
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{0,5})?")
"""A Host header: a name, or an address, of version 6 in brackets; and a port."""


class Guard:
    """Middleware that lets requests through or refuses them."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._key = None if settings.api_key is None else settings.api_key.encode()
        self._origins = settings.allow_origins
        self._names = known_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            self._check_origin(headers)
            if scope["path"] not in OPEN_PATHS:
                self._check_key(headers)
        except ApiError as error:
            await error_response(error, scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        name = "" if found is None else found["address"] or found["name"]
        if not _is_address(name) and _plain(name) not in self._names:
            told = (
                f"the server does not answer to the name {name[:100]!r}; names are allowed when it is started"
            )
            raise ApiError(403, told, code="host_not_allowed")

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        scheme, _, place = origin.lower().partition("://")
        if origin != "null" and scheme not in ("http", "https"):
            return  # a program's own page
        if place != headers.get("host", "").lower():
            raise ApiError(403, "web pages of this origin may not ask here", code="origin_not_allowed")

    def _check_key(self, headers: Headers) -> None:
        if self._key is None:
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = [headers.get("x-api-key", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        # Takes the same time however much of what is shown is right.
        if not any(hmac.compare_digest(each.encode("latin-1"), self._key) for each in shown):
            raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")


def known_names(settings: ServerSettings) -> set[str]:
    """Names under which the server may be addressed; for other machines also the machine's own."""
    names = {LOCAL_NAME, _plain(settings.host), *map(_plain, settings.allow_hosts)}
    if not is_local(settings.host):
        own = _plain(socket.gethostname())
        names |= {own, own.split(".")[0], f"{own.split('.')[0]}.local"}
    return names - {""}


def is_local(host: str) -> bool:
    """Whether what listens there can be reached from this machine alone."""
    return host == LOCAL_NAME or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
