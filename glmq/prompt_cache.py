"""A prompt's evaluated state kept on disk, for programs that begin with the same long text each time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from glmq_kernels.errors import GlmqError

from .errors import WrongSession
from .kv_cache.tree_node import common_prefix
from .model import Model
from .session import Evaluated, Session
from .session_file import read_extra


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
    model, and when its state is damaged. Give the session to `Model.generate` or `Model.chat`, with a text
    that begins with the prompt. Raises GlmqError when the file is something else, such as a conversation, or
    cannot be written.
    """
    path = Path(path)
    tokens = (
        model.tokenizer.encode(prompt, add_bos=model.tokenizer.add_bos) if isinstance(prompt, str) else prompt
    )
    session = _kept(model, path, n_ctx)
    session.rewind(common_prefix(session.tokens, tokens))
    if missing := tokens[len(session.tokens) :]:
        session.evaluate(missing, progress)
        session.save(path, force=True)
    return session


def _kept(model: Model, path: Path, n_ctx: int | None) -> Session:
    """What a file holds of a prompt; nothing where it is not there or of another model."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return model.session(n_ctx)
    if read_extra(path):
        raise GlmqError(f"{path} holds a conversation, not a prompt; name another file")
    try:
        return model.restore_session(path, n_ctx).session
    except WrongSession:
        return model.session(n_ctx)
