"""An order in which requests with the same beginning stand behind each other.

What one of them has read of it is then still there for the next one. Where many begin at once, though, each
would read it: so the first of those that share a long beginning is read ahead of the others.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .requests import BatchFile, BatchRequest

LEAST_SHARED = 1000
"""Characters that others must share with a request beyond what is read already, to read it ahead."""

BEGINNINGS = ("tools", "instructions", "messages", "prompt", "input")
"""The fields that make up a prompt, in the order in which they stand there."""


@dataclass(frozen=True)
class Turn:
    """A request whose turn comes. leads: whether its prompt is to be read before the next ones begin."""

    request: BatchRequest
    leads: bool


def by_beginning(file: BatchFile, requests: Sequence[BatchRequest]) -> list[Turn]:
    """The turns of requests. Raises GlmqError where the file has been changed."""
    beginnings = {request.id: _beginning(*file.url_and_body(request)) for request in requests}
    ordered = sorted(requests, key=lambda request: (beginnings[request.id], request.line))
    texts = [beginnings[request.id] for request in ordered]
    shared = [0, *(_n_shared(*pair) for pair in itertools.pairwise(texts)), 0]
    return [Turn(request, shared[i + 1] - shared[i] >= LEAST_SHARED) for i, request in enumerate(ordered)]


def _beginning(url: str, body: dict[str, Any]) -> str:
    return json.dumps([url, *(body.get(name) for name in BEGINNINGS)])


def _n_shared(one: str, other: str) -> int:
    """How many characters two texts have in common from their start."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if other.startswith(one[least:middle], least):
            least = middle
        else:
            most = middle - 1
    return least
