"""An answer where the cursor cannot be moved: a pipe, or a very simple terminal."""

from __future__ import annotations

from typing import TextIO

import click

from .answer_view import AnswerView, Arguments, Thinking
from .terminal import dimmed, neutral
from .tool_lines import call_line, result_lines


class PlainAnswer(AnswerView):
    """Content on standard output and nothing else there; the rest on standard error."""

    def __init__(self, output: TextIO, errors: TextIO, thinking: Thinking) -> None:
        self._output, self._errors = output, errors
        self._hidden = thinking == "hidden"
        self._begun = False
        self._at_line_start = self._aside_at_line_start = True
        self._n_calls, self._has_result = 0, False

    def reasoning(self, text: str, n_tokens: int = 1) -> None:
        """Show it on standard error, unless it is to be hidden."""
        if not self._hidden:
            self._aside(text.lstrip("\n") if self._aside_at_line_start else text)

    def content(self, text: str) -> None:
        """Write it as it is, but for empty lines at its beginning."""
        text = text if self._begun else text.lstrip("\n")
        if not text:
            return
        self._end_aside()
        self._begun = True
        self._at_line_start = text.endswith("\n")
        click.echo(neutral(text) if self._output.isatty() else text, file=self._output, nl=False)
        self._output.flush()

    def tool_call(self, name: str, text: str) -> None:
        """Only complete calls are shown."""

    def tool_call_end(
        self, name: str, arguments: Arguments, problem: str | None = None, *, asked: bool = False
    ) -> None:
        """Show it in a line on standard error."""
        self._end_content()
        self._end_aside()
        self._n_calls = 1 if self._has_result else self._n_calls + 1
        self._has_result = False
        if not asked:
            self._aside(f"[tool call] {call_line(name, arguments)}\n")
        if problem:
            self._aside(f"[tool call] {problem}\n")

    def tool_result(self, name: str, text: str, failed: bool = False) -> None:
        """Show its first lines on standard error."""
        self._end_content()
        self._end_aside()
        self._has_result = True
        for line in result_lines(text, failed, name if self._n_calls > 1 else ""):
            self._aside(f"  {line}\n")

    def remark(self, text: str) -> None:
        """Say it in a line on standard error; what goes to standard output stays as it is."""
        self._end_aside()
        if self._output.isatty():
            self._end_content()
        click.echo(f"[{text}]", file=self._errors)

    def end(self) -> None:
        """End the line."""
        self._end_aside()
        self._end_content()

    def _end_content(self) -> None:
        if self._begun and not self._at_line_start:
            click.echo(file=self._output)
        self._begun, self._at_line_start = False, True

    def _aside(self, text: str) -> None:
        if not text:
            return
        self._end_content()
        self._aside_at_line_start = text.endswith("\n")
        click.echo(dimmed(text, self._errors) if self._errors.isatty() else text, file=self._errors, nl=False)
        self._errors.flush()

    def _end_aside(self) -> None:
        if not self._aside_at_line_start:
            click.echo(file=self._errors)
            self._aside_at_line_start = True
