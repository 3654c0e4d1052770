"""How a turn comes about: answers of the model and the tools that they call, until one calls none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..session import Evaluated, Session
from ..tools import ToolBox
from ..tools.rounds import Approve, Call, rounds
from .answer_limits import AnswerLimits
from .chat_model import ChatModel
from .messages import Message
from .options import ChatOptions
from .summary import Compaction
from .turn import TurnEvent, TurnState


@dataclass(frozen=True)
class Respondent:
    """Who answers a turn, and how.

    tools: definitions of those that the model is told of. limits: where answers end, unless the options say.
    make_room: shortens the conversation before an answer where it must, and gives how.
    """

    model: ChatModel
    session: Session | None
    options: ChatOptions
    limits: AnswerLimits
    tools: Sequence[Mapping[str, Any]]
    progress: Evaluated | None
    make_room: Callable[[], Compaction | None] = lambda: None


def turn_rounds(
    messages: list[Message],
    respondent: Respondent,
    toolbox: ToolBox,
    state: TurnState,
    *,
    approve: Approve,
    max_rounds: int,
) -> Generator[TurnEvent, None, None]:
    """The events of a turn. Its messages are appended as they come to their ends, and the state is told.

    Raises Stopped when the turn is cancelled.
    """

    def approve_unless_cancelled(call: Call) -> bool | str:
        state.require_going_on()
        return approve(call)

    respond = partial(_respond, respondent, state)
    state.stopped = True
    is_over = yield from rounds(
        messages, respond, toolbox, approve=approve_unless_cancelled, max_rounds=max_rounds
    )
    state.stopped, state.out_of_rounds = False, not is_over


def _respond(
    respondent: Respondent, state: TurnState, messages: list[Message]
) -> Generator[TurnEvent, None, Message]:
    """The model's next message. When it is stopped what is there of it is appended."""
    state.require_going_on()
    if shortened := respondent.make_room():
        yield shortened
    answer = state.begin(
        respondent.model.chat(
            messages, tools=respondent.tools or None, options=_round_options(respondent, state),
            session=respondent.session, progress=respondent.progress,
        )
    )  # fmt: skip
    try:
        for event in answer.events():
            yield event
            if answer.looping and respondent.limits.end_loops:
                answer.cancel()
        if answer.finish_reason == "cancelled" or answer.tool_calls:
            state.require_going_on()
    except BaseException:
        answer.close()
        stopped = answer.message
        stopped.pop("tool_calls", None)
        if stopped["content"] or stopped.get("reasoning_content"):
            messages.append(stopped)
        raise
    return answer.message


def _round_options(respondent: Respondent, state: TurnState) -> ChatOptions:
    """Of the next answer. Calls that must be made must be made in the first."""
    options = respondent.options
    choice = "auto" if state.answers and options.tool_choice != "none" else options.tool_choice
    max_tokens = options.max_tokens or respondent.limits.max_tokens
    return replace(options, max_tokens=max_tokens, tool_choice=choice)
