"""Text from tokens as they come, never with half a character at the end."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Turns one token after another into text. Bytes that cannot become UTF-8 turn into U+FFFD."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this token completes; empty when it ends inside a character."""
        return self._decoder.decode(self._token_bytes(token))

    def flush(self) -> str:
        """What is left when no more tokens come."""
        return self._decoder.decode(b"", final=True)
