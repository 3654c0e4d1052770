"""A conversation with a model: its history, its session in the engine, and all that can be done with it."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from glmq_kernels.errors import GlmqError

from ..argument_checks import check_call, check_count, check_text
from ..errors import SessionBusy
from ..session import Evaluated
from ..text_file import read_text_file
from ..tools import ToolBox
from ..tools.own_functions import Tools, toolbox_of
from ..tools.rounds import MAX_ROUNDS, Approve, Call
from .answer_limits import recommended_limits
from .chat_model import ChatModel
from .conversation import Conversation
from .conversation_tokens import conversation_tokens
from .full_context import make_room, room_for_answer
from .messages import Message
from .model_fit import check_fit, fitting_options
from .options import ChatOptions
from .saved_chat import SavedChat
from .summary import Compaction, compact, summary_of
from .tool_definitions import knows_tools
from .turn import Stopped, Turn, TurnEvent, TurnState
from .turn_rounds import Respondent, turn_rounds
from .when_full import known_way


class ChatSession(SavedChat):
    """A conversation with a model, made by `Model.conversation`. Close it, or use it in a `with` statement.

    It does one thing at a time: what is asked of it while a turn goes on, from the first piece to the end,
    raises SessionBusy. A turn that is cancelled ends by itself first.

    conversation: its messages. tools: definitions of those that the model is told of. attached: texts that go
    before the next message. notes: what of the tools' schemas calls are not held to, a line each. limits:
    where answers end, as the model's file recommends. writing: called with tokens done and wanted of a
    summary that `when_full` asks for.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        system: str | None = None,
        tools: Tools | None = None,
        options: ChatOptions | None = None,
        approve: Approve | None = None,
        max_rounds: int | None = None,
        when_full: str = "stop",
        progress: Evaluated | None = None,
    ) -> None:
        check_call("approve", approve)
        check_call("progress", progress)
        check_count("max_rounds", max_rounds, 1)
        self.model = model
        self.conversation = Conversation()
        self.conversation.set_system(system)
        self.approve: Approve = approve or (lambda call: True)
        self.max_rounds, self.progress = max_rounds or MAX_ROUNDS, progress
        self.writing: Evaluated | None = None
        self._when_full = known_way(when_full)
        self.attached: list[str] = []
        self.limits = recommended_limits(model.file.metadata)
        self.toolbox = tools if isinstance(tools, ToolBox) else toolbox_of(tools or ())
        self._closes_tools = not isinstance(tools, ToolBox)
        self.tools = self.toolbox.definitions
        self._lock = threading.Lock()
        self._turn: TurnState | None = None
        self._closed = False
        self._counted: tuple[list[Message], int] = [], 0
        self._options = options or ChatOptions()
        self.notes = check_fit(model, self._options, self.tools)
        self._session = model.session()

    def send(self, text: str, *, thinking: bool | None = None) -> Turn:
        """Say something, with the attached files before it; what it gives is iterated over for the answer.

        thinking: of this turn, if it is to be another than that of the options. The message, and what is
        there of the answer when it ends, even by an error or because it is cancelled, stay in the
        conversation; when nothing is there the conversation is as it was before.
        """
        return self._new_turn(self._asking(text, thinking))

    async def asend(self, text: str, *, thinking: bool | None = None) -> AsyncGenerator[TurnEvent, None]:
        """The events of `send` for an event loop. Leaving it, or cancelling the task, cancels the answer.

        `approve` is called in the loop's thread.
        """
        from ..event_loop import asked_in_loop

        ask: Callable[[Callable[[], bool], bool | str, Call], bool | str] = asked_in_loop(self.approve)
        turn = self._new_turn(
            self._asking(text, thinking), lambda state: partial(ask, state.cancelled.is_set, False)
        )
        async with aclosing(turn.aevents()) as events:
            async for event in events:
                yield event

    def retry(self) -> Turn:
        """Answer the last message anew. Where that comes to nothing the old answer stays."""
        return self._new_turn(self.conversation.retry)

    def edit(self, text: str) -> Turn:
        """Change the last message and answer it anew. Where that comes to nothing all stays."""
        check_text("text", text)
        return self._new_turn(partial(self.conversation.edit, text))

    def undo(self) -> str:
        """Take back the last turn; gives its question. Raises GlmqError when there is none."""
        with self._changing():
            return self.conversation.undo()

    def clear(self) -> None:
        """Forget all but the system message, and what is attached."""
        with self._changing():
            self.conversation.clear()
            self.attached.clear()

    @property
    def messages(self) -> list[Message]:
        """The conversation as `Model.chat` takes it."""
        turn = self._turn
        if turn is not None:
            turn.settle()
        return list(self.conversation.messages)

    @property
    def system(self) -> str | None:
        """The text of the system message. Set it to change it, to None to have none."""
        return self.conversation.system

    @system.setter
    def system(self, text: str | None) -> None:
        with self._changing():
            self.conversation.set_system(text)

    @property
    def options(self) -> ChatOptions:
        """How answers are given, from the next one on. Raises GlmqError for what the model cannot have."""
        return self._options

    @options.setter
    def options(self, options: ChatOptions) -> None:
        self.notes = check_fit(self.model, options, self.tools)
        self._options = options

    def attach(self, name: str, text: str) -> None:
        """Put a text before the next message, as a file of that name."""
        self.attached.append(f"File {name}:\n\n{text.rstrip()}")

    def attach_file(self, path: str | os.PathLike[str]) -> None:
        """Put a text file before the next message. Raises GlmqError for what is no text."""
        path = Path(path)
        self.attach(path.name, read_text_file(path))

    @property
    def n_ctx(self) -> int:
        """Tokens of the context."""
        return self._session.n_ctx

    @property
    def may_be_larger(self) -> bool:
        """Whether the model was trained for a larger context."""
        return self._session.may_be_larger

    @property
    def when_full(self) -> str:
        """What is done before an answer for which the context has no room: "stop", "drop" or "summarise".

        Nothing (the answer stops where the context ends), or the oldest turns are dropped, or summarised by
        the model. Raises GlmqError when it is set to anything else.
        """
        return self._when_full

    @when_full.setter
    def when_full(self, way: str) -> None:
        self._when_full = known_way(way)

    @property
    def n_used(self) -> int:
        """Tokens of the context that the conversation takes, without what is attached."""
        messages, n_tokens = self._counted
        now = self.conversation.messages
        if len(messages) != len(now) or any(a is not b for a, b in zip(messages, now, strict=True)):
            n_tokens = self._count() if now else 0
            self._counted = list(now), n_tokens
        return n_tokens

    def compact(
        self, n_turns: int | None = None, *, drop: bool = False, progress: Evaluated | None = None
    ) -> Compaction:
        """Put the model's summary in place of the oldest turns, or drop them; by default half of them.

        progress(tokens done, wanted): called while the summary is written. Raises NoSummary when there is
        none, or it would take more room than the turns; nothing changes then.
        """
        summarise = None if drop else partial(self._summary, reading=self.progress, writing=progress)
        with self._changing():
            return compact(self.conversation, n_turns, summarise, lambda: self.n_used)

    def change_model(self, model: ChatModel, options: ChatOptions | None = None) -> list[str]:
        """Go on with another model; gives the names of what it cannot have and is dropped.

        options: in place of the present ones. Dropped are "thinking", "preserve_thinking" and "tools".
        Raises GlmqError, and keeps the present model, when the other cannot answer here.
        """
        with self._changing():
            options, dropped = fitting_options(model, options or self.options)
            tools = self.toolbox.definitions
            if tools and not knows_tools(model.chat_template):
                tools, dropped = [], [*dropped, "tools"]
            notes, session = check_fit(model, options, tools), model.session()
            self.model, self._options, self.tools, self.notes = model, options, tools, notes
            self._session, self._counted = session, ([], 0)
            self.limits = recommended_limits(model.file.metadata)
            return dropped

    def close(self) -> None:
        """End the turn that goes on, close what it keeps and the tools that it has made."""
        self._closed = True
        turn = self._turn
        if turn is not None:
            turn.cancel()
            turn.settle()
        if self.kept is not None:
            self.kept.close()
        if self._closes_tools:
            self.toolbox.close()
        with suppress(GlmqError):  # the model is closed
            self._session.rewind(0)

    def __enter__(self) -> ChatSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ", answering" if self._turn is not None else ""
        return f"<ChatSession with {self.model.file.path.name}, turns: {self.conversation.n_turns}{state}>"

    def _asking(self, text: str, thinking: bool | None) -> Callable[[], None]:
        """The change that appends a question."""
        check_text("text", text)

        def ask() -> None:
            content = "\n\n".join([*self.attached, text])
            switch = self.options.thinking if thinking is None else thinking
            self.conversation.add("user", content, thinking=switch)

        return ask

    def _new_turn(
        self, change: Callable[[], object], approve_in: Callable[[TurnState], Approve] | None = None
    ) -> Turn:
        """approve_in: gives what is asked in a turn whether a call may run; `approve` unless it is given."""
        with self._changing():
            return Turn(partial(self._run, change, approve_in or (lambda state: self.approve)))

    def _run(
        self, change: Callable[[], object], approve_in: Callable[[TurnState], Approve], state: TurnState
    ) -> Generator[TurnEvent, None, None]:
        """Change the conversation, then answer its last message."""
        conversation, n_attached = self.conversation, len(self.attached)
        try:
            self._claim(state)
            messages, unchanged = conversation.messages, list(conversation.messages)
            question: Message | None = None
            try:
                change()
                question = messages[-1]
                yield from turn_rounds(
                    messages, self._respondent(state), self.toolbox, state,
                    approve=approve_in(state), max_rounds=self.max_rounds,
                )  # fmt: skip
            finally:
                state.messages = [] if question is None else _behind(question, messages)
                if not state.messages:
                    conversation.messages = unchanged
                elif not any(question is message for message in unchanged):
                    del self.attached[:n_attached]
        except Stopped:
            pass
        finally:
            self._release(state)

    def _respondent(self, state: TurnState) -> Respondent:
        return Respondent(
            self.model, self._session, self._options, self.limits, self.tools, self.progress,
            partial(self._make_room, state),
        )  # fmt: skip

    def _make_room(self, state: TurnState) -> Compaction | None:
        """Shorten the conversation as `when_full` says where the next answer may have no room."""

        def unless_cancelled(told: Evaluated | None, n_done: int, n_wanted: int) -> None:
            state.require_going_on()
            if told:
                told(n_done, n_wanted)

        reading, writing = (partial(unless_cancelled, told) for told in (self.progress, self.writing))
        n_answer = room_for_answer(self.n_ctx, self._options.max_tokens or self.limits.max_tokens)
        return make_room(
            self.conversation, self._when_full, self.n_ctx - n_answer, self.n_ctx,
            partial(self._summary, reading=reading, writing=writing), lambda: self.n_used,
        )  # fmt: skip

    def _summary(
        self, oldest: Sequence[Message], reading: Evaluated | None, writing: Evaluated | None
    ) -> str:
        return summary_of(oldest, self.model, self._session, self._options, reading, writing)

    def _count(self) -> int:
        return conversation_tokens(
            self.model, self._session, self.conversation.messages, self.options, self.tools
        )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """For the time of a change, which no turn may meet. Raises SessionBusy."""
        state = TurnState()
        try:
            self._claim(state)
            yield
        finally:
            self._release(state)

    def _claim(self, state: TurnState) -> None:
        """Let nothing else happen until `_release`. Raises SessionBusy."""
        with self._lock:
            if self._closed:
                raise GlmqError("the conversation is closed; begin another one with the model")
            if self._turn is not None and not self._turn.settle():
                raise SessionBusy("the conversation is answering already; end that first")
            self._turn = state

    def _release(self, state: TurnState) -> None:
        """Let other things happen. It takes no lock, as a turn that `_claim` waits for ends with it."""
        state.over.set()
        if self._turn is state:
            self._turn = None


def _behind(question: Message, messages: Sequence[Message]) -> list[Message]:
    """What comes behind a message of the conversation."""
    place = next(i for i, message in enumerate(messages) if message is question)
    return list(messages[place + 1 :])
