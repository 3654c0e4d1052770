"""Routes that say what they take and give, for their description (`openapi.py`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .declared import Declared

Endpoint = Callable[[Request], Awaitable[Response]]


class Answered(BaseModel):
    """An object of a response. There may be more fields than are declared."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class DeclaredRoute(Route):
    """A route. body: what a request holds. answer: what comes at once, None where it is text.

    stream: the media type of what comes when a request asks for a stream. The endpoint's docstring tells what
    it does.
    """

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        method: str,
        *,
        body: type[Declared] | None = None,
        answer: type[BaseModel] | None = None,
        stream: str | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.method, self.body, self.answer, self.stream = method, body, answer, stream


EVENTS = "text/event-stream"
LINES = "application/x-ndjson"


def get(path: str, endpoint: Endpoint, answer: type[BaseModel] | None) -> DeclaredRoute:
    """A route that gives what is there."""
    return DeclaredRoute(path, endpoint, "GET", answer=answer)


def post(
    path: str,
    endpoint: Endpoint,
    body: type[Declared],
    answer: type[BaseModel],
    stream: str | None = None,
) -> DeclaredRoute:
    """A route that takes a body."""
    return DeclaredRoute(path, endpoint, "POST", body=body, answer=answer, stream=stream)
