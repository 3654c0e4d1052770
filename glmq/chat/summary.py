"""Making a conversation shorter: a summary by the model that has it in place of the oldest turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from glmq_kernels.errors import GlmqError

from ..errors import ContextFull
from ..sampling.changes import SamplingChanges
from ..session import Evaluated, Session
from .chat_model import ChatModel
from .conversation import Conversation
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
    stands for them now; empty where they were dropped. lacks_summary: whether they were dropped though they
    were to be summarised, as no summary made enough room.
    """

    n_turns: int
    n_before: int
    n_after: int
    summary: str
    lacks_summary: bool = False


def compact(
    conversation: Conversation,
    n_turns: int | None,
    summarise: Callable[[Sequence[Message]], str] | None,
    n_used: Callable[[], int],
) -> Compaction:
    """Put a summary in place of the oldest turns, or drop them where there is no `summarise`.

    n_turns: how many, by default half. n_used: tells how many tokens the conversation takes. Raises what
    `summarise` raises, and NoSummary where that would take more room than the turns; nothing changes then.
    """
    n_turns = conversation.n_turns // 2 if n_turns is None else n_turns
    if not n_turns:
        raise GlmqError("there are not two turns yet, of which the older could go")
    n_before, unchanged, summary = n_used(), list(conversation.messages), ""
    if summarise is None:
        conversation.drop_oldest(n_turns)
    else:
        summary = summarise(conversation.oldest(n_turns))
        conversation.replace_oldest(n_turns, summary)
    if summary and n_used() >= n_before:
        conversation.messages[:] = unchanged
        raise NoSummary("the summary takes more room than what it would stand for, so nothing is changed")
    return Compaction(n_turns, n_before, n_used(), summary)


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
