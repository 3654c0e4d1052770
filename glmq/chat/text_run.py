"""Text of one kind, thinking or content, out of an output in which the two and tool calls alternate."""

from __future__ import annotations


class TextRun:
    """Blank lines before a text are left out, white space after it goes out when more follows.

    is_begun: whether something came since the last restart. is_said: whether something came at all.
    continues: the text goes on with what the prompt ends with, so that white space before it counts.
    """

    def __init__(self, continues: bool = False) -> None:
        self.is_begun = self.is_said = continues
        self._keeps_blank_lines = continues
        self._before = ""
        self._held: list[str] = []

    @property
    def is_at_line_start(self) -> bool:
        """Whether what comes next begins a line."""
        return not self.is_begun or any("\n" in text for text in self._held)

    def push(self, text: str) -> str:
        """What of the text, and of the white space before it, goes out."""
        end = len(text.rstrip())
        if not end:
            self._held.append(text)
            return ""
        out = "".join(self._held) + text[:end]
        if not (self.is_begun or self._keeps_blank_lines):
            n_space = len(out) - len(out.lstrip())
            out = out[out.rfind("\n", 0, n_space) + 1 :]
        self._held = [text[end:]]
        self.is_begun = self.is_said = True
        before, self._before = self._before, ""
        return before + out

    def flush(self) -> str:
        """The white space after what was said."""
        return "".join(self._held) if self.is_begun else ""

    def restart(self, keep_blank_lines: bool = False) -> None:
        """Forget the white space; the next text begins anew."""
        self.is_begun = False
        self._keeps_blank_lines = keep_blank_lines
        self._held = []

    def new_paragraph(self) -> None:
        """Begin anew, with an empty line between what was said and what comes."""
        self.restart()
        self._before = "\n\n" if self.is_said else ""
