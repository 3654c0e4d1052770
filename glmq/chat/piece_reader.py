"""A parser written as one function that reads piece after piece, and may look ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator
from typing import TypeVar

from .answer_tags import THINKING_TAGS

Result = TypeVar("Result")
Reading = Generator[None, str | None, Result]
"""A function that reads pieces: tags, each whole, and texts between them in pieces of any size."""


class PieceReader(ABC):
    """Runs `_read`, which gets the pieces that are pushed, and None when the output has ended.

    is_over: whether `_read` has come to its end. leftover: pieces that it looked at and did not take.
    """

    def __init__(self) -> None:
        self.is_over = False
        self.leftover: list[str] = []
        self._unread_pieces: list[str | None] = []
        self._at_end = False
        self._reading = self._read()
        self._go_on(first=True)

    @abstractmethod
    def _read(self) -> Reading[None]:
        """Read all that is wanted."""

    def _feed(self, piece: str | None) -> None:
        self._at_end = piece is None
        self._go_on(piece)

    def _go_on(self, piece: str | None = None, first: bool = False) -> None:
        try:
            if first:
                next(self._reading)
            else:
                self._reading.send(piece)
        except StopIteration:
            self.is_over = True
            self.leftover = [piece for piece in reversed(self._unread_pieces) if piece]
            self._unread_pieces = []

    def _next(self) -> Reading[str | None]:
        """The next piece, None at the output's end."""
        if self._unread_pieces:
            return self._unread_pieces.pop()
        return None if self._at_end else (yield)

    def _unread(self, *pieces: str | None) -> None:
        """Let these pieces be the next ones."""
        self._unread_pieces += reversed(pieces)

    def _until(self, tags: Collection[str]) -> Reading[tuple[str, str | None]]:
        """The text before the next of these tags, and the tag; None for it at the output's end."""
        texts: list[str] = []
        while (piece := (yield from self._next())) is not None and piece not in tags:
            texts.append(piece)
        return "".join(texts), piece

    def _skip_space(self) -> Reading[tuple[list[str], str | None]]:
        """White space and tags of thinking that come next, and the first piece that is neither."""
        skipped: list[str] = []
        while (piece := (yield from self._next())) is not None and (
            piece.isspace() or piece in THINKING_TAGS
        ):
            skipped.append(piece)
        return skipped, piece
