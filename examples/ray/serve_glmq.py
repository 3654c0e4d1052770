"""Replicas of glmq's server on Ray Serve. Each conversation stays on one replica, which has read it before.

    serve run serve_glmq:app model=demo-tools replicas=2 threads=1

A front takes all requests and hands each one to a replica by Ray Serve's router for sessions
(`ConsistentHashRouter`). What counts as one session is told by `session_of`.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import BaseModel
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

import glmq
from glmq.server.in_process import InProcessServer
from glmq.server.settings import ServerSettings

REPLICA_HEADER = "x-glmq-replica"
SESSION_HEADER = re.compile(r"x-([a-z-]+-)?session-id")
"""Such as Claude Code's x-claude-code-session-id."""


class Arguments(BaseModel):
    """What `serve run` takes. threads, cpus: of each replica; ctx: tokens of context."""

    model: str = "demo-tools"
    replicas: int = 2
    threads: int = 1
    cpus: float = 1.0
    ctx: int | None = None
    parallel: int = 8
    queue: int = 64


@dataclass(frozen=True)
class Asked:
    """A request on its way to a replica. path: with its query."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


def session_of(headers: dict[str, str], body: bytes) -> str:
    """What requests of one conversation have in common.

    A header or `prompt_cache_key` tells it, where a client sends one. Else it is the first message that is
    not the system's, which the later requests of a conversation repeat; for plain completions, how the
    prompt begins.
    """
    for name, value in headers.items():
        if SESSION_HEADER.fullmatch(name.lower()):
            return value
    try:
        asked = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(asked, dict):
        return ""
    if told := asked.get("prompt_cache_key"):
        return str(told)
    turns = next((asked[name] for name in ("messages", "input", "prompt") if asked.get(name)), "")
    if isinstance(turns, list):
        roles = ("system", "developer")
        turns = next(
            (each for each in turns if not isinstance(each, dict) or each.get("role") not in roles), ""
        )
    return json.dumps(turns)[:1000]


@serve.deployment(
    request_router_config=RequestRouterConfig(request_router_class=ConsistentHashRouter),
    health_check_timeout_s=120,
)
class Replica:
    """A model and its server."""

    def __init__(self, arguments: Arguments) -> None:
        self._model = glmq.load(arguments.model, n_threads=arguments.threads, n_ctx=arguments.ctx)
        settings = ServerSettings(
            api_key=os.environ.get("GLMQ_API_KEY"), n_parallel=arguments.parallel, n_queue=arguments.queue
        )
        self._server = InProcessServer(self._model, settings)
        self._name = serve.get_replica_context().replica_id.unique_id

    async def answer(self, asked: Asked) -> AsyncIterator[tuple[int, list[tuple[bytes, bytes]]] | bytes]:
        """The status and headers of the response, then its body, as it comes."""
        messages = self._server.messages(asked.method, asked.path, asked.headers, asked.body)
        async with aclosing(messages):
            async for message in messages:
                if message["type"] == "http.response.start":
                    named = (REPLICA_HEADER.encode(), self._name.encode())
                    yield message["status"], [*message["headers"], named]
                elif message["body"]:
                    yield message["body"]

    def __del__(self) -> None:
        self._server.close()
        self._model.close()


@serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=10_000)
class Front:
    """Takes requests and hands them to replicas."""

    def __init__(self, replicas: DeploymentHandle) -> None:
        self._replicas = replicas

    async def __call__(self, request: Request) -> Response:
        """The response of the replica that has the request's conversation."""
        body = await request.body()
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        asked = Asked(request.method, path, request.headers.raw, body)
        session = session_of(dict(request.headers), body)
        handle = self._replicas.options(stream=True, session_id=session)
        parts = handle.answer.remote(asked)
        status, headers = await anext(parts)
        response = StreamingResponse(parts, status)
        response.raw_headers = headers
        return response


def app(arguments: Arguments) -> serve.Application:
    """The application that `serve run` starts."""
    replicas = Replica.options(
        num_replicas=arguments.replicas,
        max_ongoing_requests=arguments.parallel + arguments.queue,
        ray_actor_options={"num_cpus": arguments.cpus},
    )
    return Front.bind(replicas.bind(arguments))
