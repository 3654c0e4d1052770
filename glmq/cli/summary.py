"""A summary of a conversation, by the model that has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError

from ..chat.messages import Message
from ..errors import ContextFull
from .options import Status
from .terminal import counted

if TYPE_CHECKING:
    from ..model import Model
    from ..sampling import Sampling
    from ..session import Session

LONGEST_SUMMARY = 600
"""Tokens."""

SUMMARISE = (
    "Summarise the conversation below for yourself, so that you could go on with it: facts, decisions, names,"
    " numbers, open questions. At most 300 words, nothing else.\n\n"
)


def summary_of(
    messages: Sequence[Message], model: Model, session: Session, sampling: Sampling, status: Status
) -> str:
    """The model's summary of messages, made in a session. Raises GlmqError when it gives none."""
    from ..chat.conversation_markdown import conversation_markdown

    question = {"role": "user", "content": SUMMARISE + conversation_markdown(messages), "thinking": False}
    answer = model.chat(
        [question], sampling=sampling, max_tokens=LONGEST_SUMMARY, session=session, progress=status.reading
    )
    try:
        for _ in answer:
            n_tokens = answer.timings.n_generated
            status.show(f"summarising: {counted(n_tokens, 'token')}", n_tokens / LONGEST_SUMMARY)
        text = answer.content.strip()
    except ContextFull:
        raise GlmqError("that is too long for a summary; /compact drop forgets it instead") from None
    finally:
        status.clear()
    if not text:
        raise GlmqError("the model gave no summary; /compact drop forgets the older half instead")
    return text
