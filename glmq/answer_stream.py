"""An answer piece by piece: one thread at a time takes them, others wait for the end or bring it about."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Piece = TypeVar("Piece")

POLL_SECONDS = 0.05
"""How often who waits looks again, so that handlers of signals can run meanwhile."""

SHOWN_CHARACTERS = 40
"""Of an answer's text, in its `repr`."""


class AnswerStream(Generic[Piece]):
    """An iterator, used once. Letting go of it ends the answer.

    pieces: what the answer is made by. cancel: lets it end soon. is_cancelled: whether it will end when it is
    asked for the next piece.
    """

    def __init__(
        self,
        pieces: Generator[Piece, None, None],
        cancel: Callable[[], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.cancel = cancel
        self._pieces, self._is_cancelled = pieces, is_cancelled
        # Held while a piece is made. A thread that has it comes back here only from inside a callback.
        self._making = threading.RLock()
        self._began = self._is_making = False
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def __iter__(self) -> AnswerStream[Piece]:
        return self

    def __next__(self) -> Piece:
        self._began = True
        with self._making:
            self._is_making = True
            try:
                return next(self._pieces)
            except BaseException as error:
                self._error = None if isinstance(error, StopIteration) else error
                self._ended.set()
                raise
            finally:
                self._is_making = False

    @property
    def done(self) -> bool:
        """Whether nothing more will come: it has ended, or ends when it is asked for the next piece."""
        return self._ended.is_set() or (self._is_cancelled() and not self._is_making)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; gives whether it has come.

        An answer that nobody has begun is begun, in a thread. Raises what has ended it, if that is an error.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if not self._began and not self.done:
            self._began = True
            name, reference = "glmq-answer", weakref.ref(self)
            threading.Thread(target=_run, args=(reference,), name=name, daemon=True).start()
        while not self.done:
            left = POLL_SECONDS if until is None else min(POLL_SECONDS, until - time.monotonic())
            if left <= 0:
                return False
            self._ended.wait(left)
        if self._error is not None:
            raise self._error
        return True

    def close(self) -> None:
        """End it, and return when that is done: at once, or when the next piece is there."""
        if self._ended.is_set():
            return
        self.cancel()
        with self._making:
            if self._is_making:
                return  # called from inside: it ends when that comes back
            self._pieces.close()
            self._ended.set()

    async def aclose(self) -> None:
        """`close`, without holding up an event loop."""
        from .event_loop import in_thread

        self.cancel()
        if self._is_making:
            await in_thread(self.close)
        else:
            self.close()

    def apieces(self) -> AsyncGenerator[Piece, None]:
        """The pieces on an event loop, made in a thread. Leaving it ends the answer at the next piece."""
        from .event_loop import from_thread

        def run(post: Callable[[Piece], None]) -> None:
            for piece in self:
                post(piece)

        return from_thread(run, self.cancel)


class Ending:
    """What can be done about the end of an answer that comes from a stream.

    Leaving a `with` or `async with` block of it ends it.
    """

    _stream: AnswerStream[Any]

    def cancel(self) -> None:
        """End it at the next token, or inside its prompt; from any thread."""
        self._stream.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for its end, at most `timeout` seconds; gives whether it has come.

        Where nobody iterates over it yet, a thread begins to generate. Raises what has ended it, if that is
        an error.
        """
        return self._stream.wait(timeout)

    def close(self) -> None:
        """`cancel`, and return when it has ended and its session is free."""
        self._stream.close()

    async def aclose(self) -> None:
        """`close` for an event loop."""
        await self._stream.aclose()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._stream.done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def described(kind: str, text: str, finish_reason: str | None, n_tokens: int) -> str:
    """An answer in one line, for programmers."""
    begin = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return f"<{kind} {begin!r}: {finish_reason or 'not ended'}, {n_tokens} tokens>"


def _run(reference: weakref.ref[AnswerStream[Piece]]) -> None:
    """Take pieces as long as somebody holds the stream."""
    while (stream := reference()) is not None:
        try:
            next(stream)
        except BaseException:  # who waits is told
            return
        del stream
