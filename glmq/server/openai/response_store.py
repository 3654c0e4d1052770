"""Conversations behind responses, for requests that go on from an earlier one by its id. In memory only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...chat.messages import Message
from ..json_text import json_bytes

MAX_RESPONSES = 500
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Stored:
    """A response, and the messages up to it, its answer too, without instructions."""

    response: dict[str, Any]
    messages: Sequence[Message]


class ResponseStore:
    """Forgets the oldest when there are too many, or they are too large."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, tuple[Stored, int]] = OrderedDict()
        self._n_bytes = 0

    def put(self, stored: Stored) -> None:
        """Keep a response."""
        size = len(json_bytes(stored.response)) + len(json_bytes(list(stored.messages)))
        self._stored[stored.response["id"]] = stored, size
        self._n_bytes += size
        while self._stored and (len(self._stored) > MAX_RESPONSES or self._n_bytes > MAX_BYTES):
            self._n_bytes -= self._stored.popitem(last=False)[1][1]

    def get(self, name: str) -> Stored | None:
        """The response of an id."""
        found = self._stored.get(name)
        return None if found is None else found[0]

    def delete(self, name: str) -> bool:
        """Forget a response; gives whether it was there."""
        found = self._stored.pop(name, None)
        self._n_bytes -= 0 if found is None else found[1]
        return found is not None
