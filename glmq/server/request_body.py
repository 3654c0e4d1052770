"""The body of a request: JSON of limited size and depth."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from .api_error import ApiError, BadRequest
from .fields import Fields
from .settings import MAX_NESTING, ServerSettings

LARGE = 256 << 10
"""Bytes above which a body is read as JSON in a thread, so that the event loop goes on."""


async def read_fields(request: Request) -> Fields:
    """The object that a request's body is. Raises ApiError."""
    settings: ServerSettings = request.app.state.service.settings
    try:
        data = await asyncio.wait_for(_read(request, settings.max_body), settings.body_seconds)
    except asyncio.TimeoutError:
        raise ApiError(408, f"the body did not come within {settings.body_seconds:g} seconds") from None
    value = await asyncio.to_thread(parse_json, data) if len(data) > LARGE else parse_json(data)
    return Fields(value)


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
    """JSON in UTF-8. Raises BadRequest for anything else, and for what is nested too deeply."""
    if not data.strip():
        raise BadRequest("the body is empty; send a JSON object")
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {str(error)[:200]}") from None
    _check_depth(value)
    return value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_NESTING):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner += [item for item in each.values() if isinstance(item, (dict, list))]
            elif isinstance(each, list):
                inner += [item for item in each if isinstance(item, (dict, list))]
        if not inner:
            return
        level = inner
    raise BadRequest("the body is nested too deeply")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
