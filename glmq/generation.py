"""A generation: tokens drawn one after another until something ends it, as text that streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from .answer_costs import Timings, Usage
from .answer_stream import AnswerStream, Ending, described
from .drawing import Drawing
from .token_logprobs import TokenLogprob


class Generation(Ending):
    """Iterate over it for pieces of text, once, with `for` or `async for`. What it holds grows meanwhile.

    From the first piece to the end it has its session for itself. The end is also that it is cancelled, that
    the model is closed, or that nobody has the generation any more.
    """

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        # The stream holds the drawing and not this object, so that it ends as soon as this is let go of.
        self._stream = AnswerStream(drawing.pieces(), drawing.cancel, lambda: drawing.cancelled)

    def __iter__(self) -> Iterator[str]:
        return self._stream

    def __aiter__(self) -> AsyncGenerator[str, None]:
        return self._stream.apieces()

    def run(self) -> str:
        """Generate to the end; gives the whole text."""
        for _ in self:
            pass
        return self.text

    async def arun(self) -> str:
        """`run` for an event loop; cancelling the task ends it at the next token."""
        async for _ in self:
            pass
        return self.text

    @property
    def prompt(self) -> list[int]:
        """Tokens that it continues."""
        return self._drawing.prompt

    @property
    def tokens(self) -> list[int]:
        """Those drawn or forced, without the one that ended it."""
        return self._drawing.tokens

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """How likely each of `tokens` was; empty where that was not asked for."""
        return self._drawing.logprobs[: len(self._drawing.tokens)]

    @property
    def text(self) -> str:
        """All pieces so far."""
        return self._drawing.text

    @property
    def finish_reason(self) -> str | None:
        """None while it runs, then why it has ended.

        "stop" (the model or the guide ended it, or a stop string came), "length" (max_tokens), "context" (no
        room left) or "cancelled". Where the last three cut a character in two, its first bytes are no text.
        """
        reason = self._drawing.finish_reason
        return "cancelled" if reason is None and self._drawing.has_ended else reason

    @property
    def looping(self) -> bool:
        """Whether its end repeats itself: a passage four times in a row, at least 80 tokens."""
        return self._drawing.looping

    @property
    def timings(self) -> Timings:
        """What it has cost so far."""
        return self._drawing.timings

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return Usage.of(self.timings)

    def __repr__(self) -> str:
        return described("Generation", self.text, self.finish_reason, len(self.tokens))
