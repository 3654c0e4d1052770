"""What all answers of a model have in common: how they are read, and how they end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Generic, TypeVar

from ..answer_stream import AnswerStream, Ending
from .events import ContentText

E = TypeVar("E")


class StreamedAnswer(Ending, Generic[E]):
    """Iterate over it for pieces of its content, or over `events()` for all that comes; once.

    On an event loop `async for` gives the pieces and `aevents()` the rest too; the answer is then made in a
    thread, and cancelling the task ends it.
    """

    _stream: AnswerStream[E]

    def __iter__(self) -> Iterator[str]:
        for event in self._stream:
            if isinstance(event, ContentText):
                yield event.text

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        async with aclosing(self.aevents()) as events:
            async for event in events:
                if isinstance(event, ContentText):
                    yield event.text

    def events(self) -> Iterator[E]:
        """All that comes, in its order."""
        return self._stream

    def aevents(self) -> AsyncGenerator[E, None]:
        """`events` for an event loop. Leaving them, or cancelling the task, ends the answer."""
        return self._stream.apieces()

    def run(self) -> str:
        """Generate to the end; gives the content."""
        for _ in self._stream:
            pass
        return self.content

    async def arun(self) -> str:
        """`run` for an event loop; cancelling the task ends the answer."""
        async for _ in self.aevents():
            pass
        return self.content

    @property
    def content(self) -> str:
        """The text that answers."""
        raise NotImplementedError
