"""What a session file says of the session in it, apart from keys and values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from glmq_kernels.ops.attention.cache_layout import LAYOUT, POSITIONS_PER_PAGE, CacheShape

from .commit_file import Commit, Content
from .gguf import GGUFFile
from .kv_cache.sequence import Sequence

OLD_PAGE_POSITIONS = 32
"""Positions of a page in files whose state does not say it (see `saved_pages.py`)."""


class Savable(Protocol):
    """A session, as far as files keep it.

    drawn: tokens that follow those of the sequence and are not evaluated yet. saved_as: id of the state
    that was last saved or restored, n_saved: how many of its first tokens are still the same. saves: all
    states that files had when it was saved to or restored from them.
    """

    drawn: list[int]
    saved_as: str
    n_saved: int
    saves: set[Commit]

    @property
    def file(self) -> GGUFFile:
        """The model's file."""

    @property
    def sequence(self) -> Sequence:
        """Its tokens and their pages."""

    @property
    def n_ctx(self) -> int:
        """The most tokens that it may have."""

    @property
    def deterministic(self) -> bool:
        """Whether other sequences of its model may hold only what is a function of tokens alone."""


@dataclass(frozen=True)
class SavedState:
    """id: random, new with each save. model: fingerprint of its GGUF file. layout, page_positions: how keys
    and values lie in pages of the file; cache: their shape.
    """

    id: str
    model: str
    architecture: str
    layout: int
    cache: CacheShape
    tokens: list[int]
    drawn: list[int]
    page_positions: int = OLD_PAGE_POSITIONS

    @classmethod
    def of(cls, session: Savable, id: str) -> SavedState:
        """The state of a session now."""
        return cls(
            id,
            model=session.file.fingerprint,
            architecture=session.file.text("general.architecture"),
            layout=LAYOUT,
            cache=session.sequence.shape,
            tokens=session.sequence.tokens,
            drawn=session.drawn,
            page_positions=POSITIONS_PER_PAGE,
        )

    def packed(self) -> bytes:
        """JSON, to be written."""
        return json.dumps(vars(self) | {"cache": asdict(self.cache)}).encode()

    @property
    def is_current(self) -> bool:
        """Whether pages of the file are those of the KV cache."""
        return self.layout == LAYOUT and self.page_positions == POSITIONS_PER_PAGE

    @property
    def n_pages(self) -> int:
        """Pages of the file that its tokens take."""
        return -(-len(self.tokens) // self.page_positions)

    def misfit(self, shape: CacheShape) -> str | None:
        """Why its keys and values cannot be used in a cache of a shape; None when they can."""
        if self.layout != LAYOUT or self.page_positions not in (POSITIONS_PER_PAGE, OLD_PAGE_POSITIONS):
            return "was saved by another version of glmq"
        if self.cache.type != shape.type:
            return f"was saved with a KV cache of type {self.cache.type}, not {shape.type}"
        return None if self.cache.trunk == shape.trunk else "was saved by another version of glmq"


def parse_state(content: Content) -> SavedState | None:
    """The state that was saved; None when it is damaged."""
    fields = parse_object(content.state)
    try:
        return SavedState(**fields | {"cache": _shape_of(fields["cache"])}) if fields else None
    except (KeyError, TypeError):
        return None


def parse_object(text: bytes | None) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        value = json.loads(text or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _shape_of(fields: dict[str, Any]) -> CacheShape:
    """The shape of a saved cache. Older files say `head_dim` for the width of keys and values alike."""
    head_dim = fields.pop("head_dim", None)
    return CacheShape(**fields if head_dim is None else fields | {"key_dim": head_dim, "value_dim": head_dim})
