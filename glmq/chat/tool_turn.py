"""A turn with tools over messages that the caller keeps: `Model.run_tools`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from ..argument_checks import check_call, check_count
from ..tools import ToolBox
from ..tools.own_functions import Tools, toolbox_of
from ..tools.rounds import MAX_ROUNDS, Approve, Call
from .answer_limits import recommended_limits
from .chat_model import ChatModel
from .messages import Message
from .options import ChatOptionNames, ChatOptions, with_names
from .turn import Stopped, Turn, TurnEvent, TurnState
from .turn_rounds import Respondent, turn_rounds

if TYPE_CHECKING:
    from ..session import Evaluated, Session


OWN_NAMES = ("approve", "max_rounds", "options", "session", "progress")
"""What is not among the options."""


class _Arguments(ChatOptionNames, total=False):
    max_rounds: int | None
    options: ChatOptions | None
    session: Session | None
    progress: Evaluated | None


class ToolRunArguments(_Arguments, total=False):
    """What `Model.run_tools` takes beside messages and tools."""

    approve: Approve | None


class AsyncToolRunArguments(_Arguments, total=False):
    """What `Model.arun_tools` takes beside messages and tools."""

    approve: Callable[[Call], bool | str | Awaitable[bool | str]] | None


def tool_turn(model: ChatModel, messages: list[Message], tools: Tools, arguments: ToolRunArguments) -> Turn:
    """The answer to messages. Raises TypeError and GlmqError for arguments that cannot be."""
    check_call("approve", arguments.get("approve"))
    return _turn(model, messages, tools, arguments, lambda state: arguments.get("approve") or _all_may_run)


async def atool_turn(
    model: ChatModel, messages: list[Message], tools: Tools, arguments: AsyncToolRunArguments
) -> Turn:
    """The same for an event loop: `approve` and `progress` are called in its thread."""
    from ..event_loop import asked_in_loop, in_thread, told_in_loop

    check_call("approve", approve := arguments.get("approve"))
    check_call("progress", progress := arguments.get("progress"))
    if progress is not None:
        arguments["progress"] = told_in_loop(progress)
    ask: Callable[[Callable[[], bool], bool | str, Call], bool | str]
    ask = asked_in_loop(approve or _all_may_run)

    def approve_in(state: TurnState) -> Approve:
        return lambda call: ask(state.cancelled.is_set, False, call)

    return await in_thread(lambda: _turn(model, messages, tools, arguments, approve_in))


def _all_may_run(call: Call) -> bool | str:
    return True


def _turn(
    model: ChatModel,
    messages: list[Message],
    tools: Tools,
    arguments: Mapping[str, Any],
    approve_in: Callable[[TurnState], Approve],
) -> Turn:
    """approve_in: gives what is asked in a turn whether a call may run."""
    if not isinstance(messages, list):
        raise TypeError(f"messages is a {type(messages).__name__}; it must be a list, which is appended to")
    own = {name: arguments[name] for name in OWN_NAMES if name in arguments}
    names = {name: value for name, value in arguments.items() if name not in OWN_NAMES}
    options = with_names(own.get("options"), names, of="Model.run_tools", others=OWN_NAMES)
    check_count("max_rounds", own.get("max_rounds"), 1)
    check_call("progress", own.get("progress"))
    toolbox = tools if isinstance(tools, ToolBox) else toolbox_of(tools)
    respondent = Respondent(
        model, own.get("session"), options, recommended_limits(model.file.metadata),
        toolbox.definitions, own.get("progress"),
    )  # fmt: skip

    def events(state: TurnState) -> Generator[TurnEvent, None, None]:
        n_before = len(messages)
        try:
            yield from turn_rounds(
                messages, respondent, toolbox, state,
                approve=approve_in(state), max_rounds=own.get("max_rounds") or MAX_ROUNDS,
            )  # fmt: skip
        except Stopped:
            pass
        finally:
            state.messages = messages[n_before:]
            state.over.set()
            if toolbox is not tools:
                toolbox.close()

    return Turn(events)
