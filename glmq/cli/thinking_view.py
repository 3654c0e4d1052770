"""A model's thinking in a terminal: its last lines while it goes on, folded to one line afterwards."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from .answer_view import Thinking
from .live_region import Line
from .markdown_lines import text_lines

N_LINES = 4
KEPT_CHARACTERS = 4000
"""Of the thinking, for its last lines."""
INDICATOR = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class ThinkingView:
    """Gives the lines for a stretch of thinking; after its end another may begin."""

    def __init__(self, mode: Thinking, clock: Callable[[], float]) -> None:
        self._mode, self._clock = mode, clock
        self._text = ""
        self._n_tokens = self._n_drawn = 0
        self._begun_at: float | None = None

    @property
    def leaves_lines(self) -> bool:
        """Whether anything stays when it is over."""
        return self._mode != "hidden"

    def feed(self, text: str, n_tokens: int) -> None:
        """A piece of it."""
        if self._begun_at is None:
            self._begun_at = self._clock()
            text = text.lstrip()
        self._text += text
        self._n_tokens += n_tokens

    def lines(self, console: Console) -> tuple[list[Line], list[Line]]:
        """Lines that are finished and were not given before, and those that may change."""
        if self._mode == "hidden":
            self._n_drawn += 1
            sign = INDICATOR[self._n_drawn % len(INDICATOR)]
            return [], text_lines(console, f"{sign} thinking", "dim")
        if self._mode == "unfolded":
            said = self._text.rstrip()
            above, newline, line = said.rpartition("\n")
            self._text = line + self._text[len(said) :]
            return (
                text_lines(console, above, "dim") if newline else [],
                text_lines(console, line, "dim") if line else [],
            )
        if len(self._text) > KEPT_CHARACTERS:
            half = KEPT_CHARACTERS // 2
            line_end = self._text.find("\n", len(self._text) - half)
            self._text = self._text[line_end + 1 :] if line_end >= 0 else self._text[-half:]
        last = text_lines(console, self._text.rstrip(), "dim italic", indent=2)[-N_LINES:]
        return [], [*text_lines(console, f"▾ thinking for {self._cost()}", "dim"), *last]

    def end(self, console: Console) -> list[Line]:
        """The lines that stay."""
        lines: list[Line] = []
        if self._mode == "unfolded" and self._text.strip():
            lines = text_lines(console, self._text.rstrip(), "dim")
        elif self._mode == "folded":
            folded, hint = f"▸ thought for {self._cost()}", " (/thinking shows it)"
            fits = len(folded + hint) <= console.width
            lines = text_lines(console, folded + hint if fits else folded, "dim")
        self._text, self._n_tokens, self._begun_at = "", 0, None
        return lines

    def _cost(self) -> str:
        minutes, seconds = divmod(int(self._clock() - (self._begun_at or 0.0)), 60)
        duration = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return f"{duration}, {self._n_tokens} token{'s' if self._n_tokens != 1 else ''}"
