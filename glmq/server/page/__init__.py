"""The web page at `/`, and what programs see there that look for Ollama."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import ollama
from .assembly import whole_page


async def root(request: Request) -> Response:
    """GET and HEAD /: the page for browsers, which ask for HTML, and Ollama's words for others."""
    if "text/html" in request.headers.get("accept", ""):
        response = _page(request)
    else:
        response = await ollama.root(request)
    response.headers["Vary"] = "Accept"
    return response


def _page(request: Request) -> Response:
    page = whole_page()
    headers = {
        "Content-Security-Policy": page.policy,
        "ETag": page.etag,
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if page.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(page.content, headers=headers, media_type="text/html")


ROUTES = [Route("/", root, methods=["GET"])]
