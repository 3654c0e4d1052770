"""What may be done when the context is full."""

from __future__ import annotations

from typing import Literal, get_args

from glmq_kernels.errors import GlmqError

WhenFull = Literal["stop", "drop", "summarise"]
"""Keep all, so that an answer stops where the context ends; or drop, or summarise, the oldest turns."""

WAYS: tuple[WhenFull, ...] = get_args(WhenFull)


def known_way(name: str) -> WhenFull:
    """One of `WAYS`. Raises GlmqError for other names."""
    for way in WAYS:
        if name == way:
            return way
    raise GlmqError(f"{name!r} is no way to go on when the context is full; choose {', '.join(WAYS)}")
