"""Commands on what was said."""

from __future__ import annotations

from functools import partial

from glmq_kernels.errors import GlmqError

from ...chat.messages import text_of
from ..talk import Talk
from ..terminal import counted, edit_text
from .slash_command import SlashCommand


def _clear(talk: Talk, argument: str) -> str:
    talk.conversation.clear()
    talk.attached.clear()
    return "The conversation begins anew."


def _system(talk: Talk, argument: str) -> str:
    if not argument:
        return talk.conversation.system or "There is no system message."
    talk.conversation.set_system(None if argument == "off" else argument)
    system = talk.conversation.system
    return f"The system message is set: {_first_line(system)}" if system else "The system message is gone."


def _undo(talk: Talk, argument: str) -> str:
    return f"Taken back: {_first_line(talk.conversation.undo())}"


def _retry(talk: Talk, argument: str) -> str:
    talk.answer(talk.conversation.retry)
    return ""


def _edit(talk: Talk, argument: str) -> str:
    questions = [message for message in talk.conversation.messages if message["role"] == "user"]
    if not questions:
        raise GlmqError("the conversation has no message of yours yet")
    text = edit_text(text_of(questions[-1]))
    if text is None or not text.strip():
        return "Nothing is changed."
    talk.answer(partial(talk.conversation.edit, text.strip()))
    return ""


def _compact(talk: Talk, argument: str) -> str:
    if argument not in ("", "drop"):
        raise GlmqError("/compact summarises the older half of the turns, /compact drop forgets it")
    n_turns = talk.conversation.n_turns // 2
    if not n_turns:
        raise GlmqError("there are not two turns yet; /undo takes back the last, /clear forgets all")
    n_before, summary = talk.n_used, ""
    if argument == "drop":
        talk.conversation.drop_oldest(n_turns)
    else:
        summary = _summarise(talk, n_turns, n_before)
    done = "Dropped" if argument else "Summarised"
    oldest, left = (counted(n, "turn") for n in (n_turns, talk.conversation.n_turns))
    sizes = f"{talk.n_used:,} tokens instead of {n_before:,}"
    told = f"{done} the oldest {oldest}; the conversation has {left} now, {sizes}."
    return f"{told}\n\n{summary}" if summary else told


def _summarise(talk: Talk, n_turns: int, n_before: int) -> str:
    """Put a summary in place of the oldest turns. Raises GlmqError where that would take more room."""
    unchanged = list(talk.conversation.messages)
    summary = talk.summary(talk.conversation.oldest(n_turns))
    talk.conversation.replace_oldest(n_turns, summary)
    if talk.n_used >= n_before:
        talk.conversation.messages = unchanged
        raise GlmqError(
            "the summary takes more room than what it would stand for, so nothing is changed;"
            " /compact drop forgets the older half"
        )
    return summary


def _first_line(text: str) -> str:
    """How a text begins, on one line."""
    first = text.strip().split("\n")[0]
    return f"{first[:60]}{'…' if len(first) > 60 or first != text.strip() else ''}"


def _thinking(talk: Talk, argument: str) -> str:
    thoughts = [message.get("reasoning_content") for message in talk.conversation.messages]
    last = next((text for text in reversed(thoughts) if text), None)
    return last or "There was no thinking."


COMMANDS = {
    "/undo": SlashCommand("", "take back your last message and its answer", _undo),
    "/retry": SlashCommand("", "answer your last message anew", _retry),
    "/edit": SlashCommand("", "change your last message in $EDITOR and have it answered anew", _edit),
    "/thinking": SlashCommand("", "show the thinking before the last answer", _thinking),
    "/compact": SlashCommand("[drop]", "summarise the older half of the turns, or drop it", _compact),
    "/clear": SlashCommand("", "forget the conversation, but not the system message", _clear),
    "/system": SlashCommand("[TEXT]", "show or set the system message (off removes it)", _system),
}
