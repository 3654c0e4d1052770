"""A prompt's evaluated state kept on disk, for programs that begin with the same long text each time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .generation import common_prefix
from .model import Model
from .session import Evaluated, Session


def prompt_session(
    model: Model,
    path: str | os.PathLike[str],
    prompt: str | Sequence[int],
    *,
    n_ctx: int | None = None,
    progress: Evaluated | None = None,
) -> Session:
    """A session that holds a prompt (text or token ids), from the file where it has been kept.

    What the file lacks is evaluated, and the file is then written: the first time, for another prompt or
    model, and when it is damaged. Give the session to `Model.generate` or `Model.chat`, with a text that
    begins with the prompt. Raises UserError when the file is something else or cannot be written.
    """
    path = Path(path)
    tokens = (
        model.tokenizer.encode(prompt, add_bos=model.tokenizer.add_bos) if isinstance(prompt, str) else prompt
    )
    session = model.restore_session(path, n_ctx).session if path.exists() else model.session(n_ctx)
    session.rewind(common_prefix(session.tokens, tokens))
    if missing := tokens[len(session.tokens) :]:
        session.evaluate(missing, progress)
        session.save(path)
    return session
