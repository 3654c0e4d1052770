"""/v1/responses, and what is kept of them for a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from ..answer_run import AnswerRun
from ..api_error import ApiError
from ..declared_route import EVENTS, DeclaredRoute, get, post
from ..event_stream import EventStream, unless_gone
from ..json_text import JsonResponse
from ..preparation import count_prompt
from ..request_body import read_body_as_given
from ..service import Service
from .answers import DeletedResponse, InputTokens, ResponseObject
from .response_request import ResponseBody, ResponseCall, read_response
from .response_store import Stored
from .response_writer import ResponseWriter


async def create_response(request: Request) -> Response:
    """Answer a conversation that comes as items, or goes on from an earlier response."""
    service: Service = request.app.state.service
    call = await _call(request, service)
    run = await service.begin_chat(call.request)
    writer = ResponseWriter(call)
    if call.stream:
        chunks = _stream(service, writer, run)
        return EventStream(chunks, service.settings.ping_seconds, run.cancel, writer.failed)
    await unless_gone(request, _take_all(service, writer, run))
    return JsonResponse(writer.finished())


async def count_input(request: Request) -> Response:
    """Count the tokens of a response's prompt; this does not wait for answers."""
    service: Service = request.app.state.service
    call = await _call(request, service)
    n = await service.in_thread(count_prompt, service.model, call.request)
    return JsonResponse({"object": "response.input_tokens", "input_tokens": n})


async def stored_response(request: Request) -> Response:
    """Give a response that is kept."""
    return JsonResponse(_kept(request).response)


async def delete_response(request: Request) -> Response:
    """Forget a response."""
    service: Service = request.app.state.service
    name = _kept(request).response["id"]
    service.responses.delete(name)
    return JsonResponse({"id": name, "object": "response", "deleted": True})


def _kept(request: Request) -> Stored:
    service: Service = request.app.state.service
    name = request.path_params["id"]
    stored = service.responses.get(name)
    if stored is None:
        raise ApiError(404, f"there is no response {name[:80]!r}", code="not_found")
    return stored


ROUTES = [
    post("/v1/responses", create_response, ResponseBody, ResponseObject, EVENTS),
    post("/responses", create_response, ResponseBody, ResponseObject, EVENTS),
    post("/v1/responses/input_tokens", count_input, ResponseBody, InputTokens),
    get("/v1/responses/{id}", stored_response, ResponseObject),
    DeclaredRoute("/v1/responses/{id}", delete_response, "DELETE", answer=DeletedResponse),
]


async def _call(request: Request, service: Service) -> ResponseCall:
    body, given = await read_body_as_given(request, ResponseBody)
    return read_response(body, given, service.model_name, service.responses)


async def _take_all(service: Service, writer: ResponseWriter, run: AnswerRun) -> None:
    async with aclosing(service.events(run)) as events:
        async for event in events:
            writer.write(event)
    _store(service, writer)


async def _stream(service: Service, writer: ResponseWriter, run: AnswerRun) -> AsyncGenerator[bytes, None]:
    async with aclosing(service.events(run)) as events:
        yield writer.start()
        async for event in events:
            yield writer.write(event)
    _store(service, writer)
    yield writer.last()


def _store(service: Service, writer: ResponseWriter) -> None:
    """Keep a response, unless the request forbids it."""
    if writer.call.store:
        messages = [*writer.call.messages, writer.answer_message()]
        service.responses.put(Stored(writer.finished(), messages))
