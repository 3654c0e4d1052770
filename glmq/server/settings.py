"""What can be set about a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ..sampling import Sampling


@dataclass(frozen=True)
class ServerSettings:
    """host, port: where it listens; unix: a socket file in place of these.

    model_name: what the model is called, default its file's name.
    api_key: what requests must show. allow_origins: web pages of which other origins may ask; "*" for all.
    allow_hosts: further names by which the server may be addressed.
    n_parallel: answers that run at once. n_queue: answers that may wait beyond these.
    sampling: for requests that say nothing, default what suits the model. max_tokens: of an answer, at most.
    grace_seconds: how long answers may go on after the server was told to end.
    ping_seconds: after how much silence a stream shows life. max_body: bytes of a request.
    header_seconds, body_seconds: in which the head and the body of a request must have come.
    log_prompts: whether the log holds what is asked and answered.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    unix: Path | None = None
    model_name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    n_parallel: int = 8
    n_queue: int = 64
    sampling: Sampling | None = None
    max_tokens: int | None = None
    grace_seconds: float = 5.0
    ping_seconds: float = 10.0
    max_body: int = 32 << 20
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    log_prompts: bool = False


MAX_CHOICES = 16
"""Answers to one request."""

MAX_LOGPROBS = 20
"""Likeliest tokens that are told for each token."""

MAX_STOPS, MAX_STOP_LENGTH = 16, 1000
"""Stop texts of a request, and characters of one."""

MAX_TOOLS = 1024
"""Tools of a request."""

MAX_GRAMMAR = 256 << 10
"""Characters of a grammar or, as JSON, of a schema."""

MAX_TOOL_DEFINITIONS = 2 << 20
"""Characters of all tools of a request, as JSON."""

MAX_NAME = 256
"""Characters of a model's name."""
