"""Which view an answer gets: by what standard output is."""

from __future__ import annotations

import os
import sys

from .answer_view import AnswerView, Thinking


def open_answer_view(*, markdown: bool = True, thinking: Thinking = "folded") -> AnswerView:
    """The view that standard output allows.

    A terminal shows Markdown (or, without `markdown`, text as it comes) and folds the thinking when it ends.
    Where the cursor cannot be moved (TERM=dumb), and through a pipe, content goes to standard output and
    everything else to standard error.
    """
    if sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        from .terminal_answer import TerminalAnswer

        return TerminalAnswer(sys.stdout, markdown=markdown, thinking=thinking)
    from .plain_answer import PlainAnswer

    return PlainAnswer(sys.stdout, sys.stderr, thinking=thinking)
