"""Paths that clients know, of what is not supported: one clear line in place of "nothing is here"."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .api_error import ApiError
from .declared_route import Endpoint

PATHS = {
    "/v1/embeddings": "embeddings are not supported: GLM chat models give poor ones; use an embedding model",
    "/v1/rerank": "reranking is not supported; use a model made for it",
    "/v1/audio/transcriptions": "audio is not supported; GLM models read text only",
    "/v1/audio/speech": "audio is not supported; GLM models write text only",
    "/v1/images/generations": "images are not supported; GLM models write text only",
    "/api/embed": "embeddings are not supported: GLM chat models give poor ones; use an embedding model",
    "/api/embeddings": "embeddings are not supported: GLM chat models give poor ones; use an embedding model",
    "/api/pull": "the server has one model; start it with another",
    "/slots/{id}": "slots cannot be saved; what was read is found again by its beginning",
}


def _refusing(told: str) -> Endpoint:
    async def refuse(request: Request) -> Response:
        raise ApiError(501, told, code="not_supported")

    return refuse


ROUTES = [Route(path, _refusing(told), methods=["POST"]) for path, told in PATHS.items()]
