"""The body of a request: JSON of limited size and depth."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from .api_error import ApiError, BadRequest
from .declared import Declared, Kind, read
from .settings import ServerSettings

LARGE = 256 << 10
"""Bytes above which a body is read as JSON in a thread, so that the event loop goes on."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class NoFields(Declared):
    """A body in which nothing is looked for."""


async def read_body(request: Request, kind: type[Kind]) -> Kind:
    """A request's body as it is declared. Raises ApiError."""
    return (await read_body_as_given(request, kind))[0]


async def read_body_as_given(request: Request, kind: type[Kind]) -> tuple[Kind, dict[str, Any]]:
    """A request's body as it is declared, and as it came. Raises ApiError."""
    settings: ServerSettings = request.app.state.service.settings
    try:
        data = await asyncio.wait_for(_read(request, settings.max_body), settings.body_seconds)
    except asyncio.TimeoutError:
        raise ApiError(408, f"the body did not come within {settings.body_seconds:g} seconds") from None
    return await asyncio.to_thread(_parsed, data, kind) if len(data) > LARGE else _parsed(data, kind)


def _parsed(data: bytes, kind: type[Kind]) -> tuple[Kind, dict[str, Any]]:
    value = parse_json(data)
    return read(kind, value), value


async def _read(request: Request, max_body: int) -> bytes:
    too_large = ApiError(413, f"the body is larger than {max_body} bytes", code="request_too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > max_body):
        raise too_large
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > max_body:
                raise too_large
    except ClientDisconnect:
        raise ApiError(400, "the client went away") from None
    return bytes(data)


def parse_json(data: bytes) -> Any:
    """JSON in UTF-8, without NaN and halves of characters, nested at most 200 deep. Raises BadRequest."""
    if not data.strip():
        raise BadRequest("the body is empty; send a JSON object")
    try:
        return from_json(data.removeprefix(BYTE_ORDER_MARK), allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise BadRequest("the body is nested too deeply") from None
        told = re.sub(r"\s+", " ", str(error))[:200]
        raise BadRequest(f"the body is not JSON in UTF-8: {told}") from None
