"""A summary of a conversation, by the model that has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from glmq_kernels.errors import GlmqError

from ..errors import ContextFull
from ..sampling.changes import SamplingChanges
from ..session import Evaluated, Session
from .chat_model import ChatModel
from .conversation_markdown import conversation_markdown
from .messages import Message
from .options import ChatOptions

LONGEST_SUMMARY = 600
"""Tokens."""

SUMMARISE = (
    "Summarise the conversation below for yourself, so that you could go on with it: facts, decisions, names,"
    " numbers, open questions. At most 300 words, nothing else.\n\n"
)


class NoSummary(GlmqError):
    """The model gave no summary that could stand for the turns; nothing was changed."""


@dataclass(frozen=True)
class Compaction:
    """How a conversation was made shorter.

    n_turns: the oldest, which went. n_before, n_after: tokens that the conversation takes. summary: what
    stands for them now; empty where they were dropped.
    """

    n_turns: int
    n_before: int
    n_after: int
    summary: str


def summary_of(
    messages: Sequence[Message],
    model: ChatModel,
    session: Session,
    options: ChatOptions,
    reading: Evaluated | None,
    writing: Evaluated | None,
) -> str:
    """The model's summary of messages, made in a session. Raises NoSummary.

    options: of which the sampling counts. reading, writing: called with tokens done and wanted of the prompt
    and of the summary.
    """
    question = {"role": "user", "content": SUMMARISE + conversation_markdown(messages), "thinking": False}
    sampling = {each.name: getattr(options, each.name) for each in fields(SamplingChanges)}
    options = ChatOptions(sampling=options.sampling, max_tokens=LONGEST_SUMMARY, **sampling)
    answer = model.chat([question], tools=None, options=options, session=session, progress=reading)
    try:
        for _ in answer:
            if writing:
                writing(answer.timings.n_generated, LONGEST_SUMMARY)
    except ContextFull:
        raise NoSummary("that is too long for a summary") from None
    text = answer.content.strip()
    if not text:
        raise NoSummary("the model gave no summary")
    return text
