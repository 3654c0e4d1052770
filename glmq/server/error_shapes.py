"""Errors in the shape of the API whose path was asked for."""

from __future__ import annotations

from typing import Any, Literal
from uuid import uuid4

from .api_error import CONTEXT_CODE, ApiError
from .declared_route import Answered
from .json_text import JsonResponse

OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    501: "not_supported_error",
}
ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class OpenaiFault(Answered):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenaiError(Answered):
    """An error in OpenAI's shape."""

    error: OpenaiFault


class AnthropicFault(Answered):
    """What is wrong."""

    type: str
    message: str


class AnthropicError(Answered):
    """An error in Anthropic's shape."""

    type: Literal["error"]
    error: AnthropicFault
    request_id: str


class OllamaError(Answered):
    """An error in Ollama's shape."""

    error: str


def error_response(error: ApiError, path: str) -> JsonResponse:
    """The response to a request for `path`."""
    shape = shape_of(path)
    if shape is AnthropicError:
        body = anthropic_error(error)
    elif shape is OllamaError:
        body = {"error": error.message}
    else:
        body = openai_error(error)
    return JsonResponse(body, error.status, error.headers)


def shape_of(path: str) -> type[OpenaiError] | type[AnthropicError] | type[OllamaError]:
    """The shape of errors at a path."""
    if path.startswith("/v1/messages"):
        return AnthropicError
    return OllamaError if path.startswith("/api/") else OpenaiError


def openai_error(error: ApiError) -> dict[str, Any]:
    """In OpenAI's shape."""
    usual = "invalid_request_error" if error.status < 500 else "server_error"
    told = {
        "message": error.message,
        "type": OPENAI_TYPES.get(error.status, usual),
        "param": error.param,
        "code": error.code,
    }
    return {"error": {**told, **error.details}}


def anthropic_error(error: ApiError) -> dict[str, Any]:
    """In Anthropic's shape, and in its words where a client looks for them."""
    usual = "invalid_request_error" if error.status < 500 else "api_error"
    message = error.message
    if error.code == CONTEXT_CODE and error.details:
        n_prompt, n_ctx = error.details["n_prompt_tokens"], error.details["n_ctx"]
        message = f"prompt is too long: {n_prompt} tokens > {n_ctx} maximum"
    return {
        "type": "error",
        "error": {"type": ANTHROPIC_TYPES.get(error.status, usual), "message": message},
        "request_id": f"req_{uuid4().hex[:24]}",
    }
