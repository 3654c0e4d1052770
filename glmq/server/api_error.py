"""What a request is told when it cannot be answered. Each protocol writes it in its own shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glmq_kernels.errors import GlmqError

from ..errors import ContextFull, LoadedBeforeFork, ModelClosed, NotFinite, OutOfPages

CONTEXT_CODE = "context_length_exceeded"


class ApiError(Exception):
    """status: of HTTP. code: for programs. param: the field that is wrong. details: further fields.

    retry_after: seconds after which asking again makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.details, self.retry_after = dict(details or {}), retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Of the response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


class BadRequest(ApiError):
    """A field that is wrong."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(400, message, param=param)


def context_too_long(n_prompt: int, n_ctx: int) -> ApiError:
    """A prompt that leaves no room for an answer. Agents look for its code or words, and compact."""
    return ApiError(
        400,
        f"This model's maximum context length is {n_ctx} tokens, and the prompt is too long:"
        f" {n_prompt} tokens. Make the messages shorter.",
        code=CONTEXT_CODE,
        param="messages",
        details={"n_prompt_tokens": n_prompt, "n_ctx": n_ctx},
    )


def shutting_down() -> ApiError:
    """The server ends."""
    return ApiError(503, "the server is shutting down", code="shutting_down", retry_after=10)


def error_of(error: BaseException) -> ApiError:
    """What a request is told of an error."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ContextFull):
        return ApiError(400, str(error), code=CONTEXT_CODE, param="messages")
    if isinstance(error, OutOfPages):
        return ApiError(429, str(error), code="out_of_memory", retry_after=5)
    if isinstance(error, ModelClosed):
        return shutting_down()
    if isinstance(error, (NotFinite, LoadedBeforeFork)):
        return ApiError(500, str(error), code="model_error")
    if isinstance(error, GlmqError):
        return BadRequest(str(error), error.setting)
    return ApiError(500, "internal error; the server's log tells more", code="internal_error")
