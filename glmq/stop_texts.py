"""Texts that end an output, found in it as it streams."""

from __future__ import annotations

from collections.abc import Sequence


class StopTexts:
    """Lets text through up to the first stop text, and holds back what may begin one.

    found: whether one came; nothing goes out after that. text: the one that came.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.found = False
        self.text: str | None = None
        self._texts = [text for text in texts if text]
        self._held = ""

    def push(self, text: str) -> str:
        """What of the text so far may go out."""
        if self.found:
            return ""
        text = self._held + text
        places = [(text.find(stop), stop) for stop in self._texts if stop in text]
        if places:
            self.found, self._held = True, ""
            place, self.text = min(places)
            return text[:place]
        n_held = max((_overlap(text, stop) for stop in self._texts), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def flush(self) -> str:
        """What was held back, as no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`, but is not the whole of it."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
