"""Commands on what was said."""

from __future__ import annotations

from glmq_kernels.errors import GlmqError

from ...chat.messages import text_of
from ...chat.summary import NoSummary
from ..talk import Talk, how_compacted
from ..terminal import edit_text
from .slash_command import SlashCommand


def _clear(talk: Talk, argument: str) -> str:
    talk.chat.clear()
    return "The conversation begins anew."


def _system(talk: Talk, argument: str) -> str:
    if not argument:
        return talk.chat.system or "There is no system message."
    talk.chat.system = None if argument == "off" else argument
    system = talk.chat.system
    return f"The system message is set: {_first_line(system)}" if system else "The system message is gone."


def _undo(talk: Talk, argument: str) -> str:
    return f"Taken back: {_first_line(talk.chat.undo())}"


def _retry(talk: Talk, argument: str) -> str:
    talk.show(talk.chat.retry())
    return ""


def _edit(talk: Talk, argument: str) -> str:
    questions = [message for message in talk.chat.messages if message["role"] == "user"]
    if not questions:
        raise GlmqError("the conversation has no message of yours yet")
    text = edit_text(text_of(questions[-1]))
    if text is None or not text.strip():
        return "Nothing is changed."
    talk.show(talk.chat.edit(text.strip()))
    return ""


def _compact(talk: Talk, argument: str) -> str:
    if argument not in ("", "drop"):
        raise GlmqError("/compact summarises the older half of the turns, /compact drop forgets it")
    n_turns = talk.chat.conversation.n_turns
    if n_turns < 2:
        raise GlmqError("there are not two turns yet; /undo takes back the last, /clear forgets all")
    try:
        done = talk.chat.compact(drop=argument == "drop", progress=talk.status.summarising)
    except NoSummary as error:
        raise GlmqError(f"{error}; /compact drop forgets the older half instead") from None
    finally:
        talk.status.clear()
    told = how_compacted(done, talk.chat.conversation.n_turns)
    return f"{told}\n\n{done.summary}" if done.summary else told


def _first_line(text: str) -> str:
    """How a text begins, on one line."""
    first = text.strip().split("\n")[0]
    return f"{first[:60]}{'…' if len(first) > 60 or first != text.strip() else ''}"


def _thinking(talk: Talk, argument: str) -> str:
    thoughts = [message.get("reasoning_content") for message in talk.chat.messages]
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
