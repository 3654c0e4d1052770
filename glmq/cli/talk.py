"""A conversation at the terminal: its answers on the screen, and what the user is told about them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError

from ..chat.answer_limits import AnswerLimits, recommended_limits
from ..chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from ..chat.summary import Compaction
from ..errors import ContextFull, WrongSession
from ..tools import ToolCallResult
from .answer_view import AnswerView
from .open_answer_view import open_answer_view
from .options import Status
from .stats import memory_line, stats_line, why_no_answer
from .talk_settings import TalkSettings
from .terminal import counted, note
from .tool_options import Confirmation

if TYPE_CHECKING:
    from ..chat.chat_session import ChatSession
    from ..chat.turn import Turn, TurnEvent
    from ..constraint import Constraint
    from ..experts.statistics import ExpertStatistics
    from ..model import Model

NEARLY_FULL = 0.8
"""Share of the context from which on the user is told."""


@dataclass
class Talk:
    """A conversation as the terminal shows it.

    model: the one that `chat` is with. open_model: loads another one by name. opened: closes the present one.
    constraint: what answers are held to, if anything. exported: files that the conversation was exported to,
    as they were then. has_commands: whether the user can give commands. answers_once: whether the program
    ends behind the first answer. n_unanswered: turns that ended without an answer. told: what calls are not
    held to, as it was told.
    """

    chat: ChatSession
    model: Model
    settings: TalkSettings
    open_model: Callable[[str], AbstractContextManager[Model]]
    opened: ExitStack
    constraint: Constraint | None = None
    status: Status = field(default_factory=Status)
    exported: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    has_commands: bool = True
    answers_once: bool = False
    n_unanswered: int = 0
    told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chat.progress, self.chat.writing = self.status.reading, self.status.summarising
        self._take_settings(self.settings)

    def change_settings(self, settings: TalkSettings) -> None:
        """Go on with other settings. Raises GlmqError, and keeps these, when the model cannot have them."""
        self.chat.options = settings.options(self.constraint)
        self._take_settings(settings)

    def _take_settings(self, settings: TalkSettings) -> None:
        """Follow settings that the conversation has already, and tell what its calls are not held to."""
        self.settings = settings
        self.chat.when_full = settings.when_full
        self.chat.limits = AnswerLimits(end_loops=settings.limits.end_loops)
        for each in self.chat.notes:
            if each not in self.told:
                note(f"Not held: {each}")
                self.told.add(each)

    def ask(self, text: str, think: bool | None = None) -> None:
        """Say something and show the answer. think: as of `ChatSession.send`."""
        self.show(self.chat.send(text, thinking=think))

    def show(self, turn: Turn) -> None:
        """Show a turn as it comes, and save the session behind it. Ctrl-C ends it.

        Raises GlmqError for what stops it.
        """
        advice = self._advice()
        before = self.model.experts.statistics.copy() if self.model.experts else None
        try:
            with turn, self._view() as view:
                self._show_events(turn, view)
        except ContextFull as error:
            raise ContextFull(
                f"{error}{advice and '; '}{advice}",
                n_tokens=error.n_tokens, n_ctx=error.n_ctx, setting=error.setting,
            ) from None  # fmt: skip
        except KeyboardInterrupt:
            if self.answers_once or not sys.stdin.isatty():
                raise
        finally:
            self.status.clear()
        if not turn.messages:
            note("Stopped before the answer began.")
            return
        if turn.out_of_rounds:
            rounds = counted(self.chat.max_rounds, "round")
            note(f"Ended after {rounds} of tool calls; --max-rounds allows more.")
        self._tell_end(turn, before)
        self.save_session()

    def _view(self) -> AnswerView:
        return open_answer_view(markdown=self.settings.markdown, thinking=self.settings.think_view)

    def _show_events(self, turn: Turn, view: AnswerView) -> None:
        name, n_shown, n_answers, told = "", 0, 0, False
        for event in turn.events():
            self.status.clear()
            if len(turn.answers) > n_answers:
                n_shown, n_answers, told = 0, len(turn.answers), False
            n_tokens = turn.answers[-1].timings.n_generated if turn.answers else 0
            if isinstance(event, ToolCallBegin):
                name = event.name
            self._show_event(event, view, name, n_tokens - n_shown)
            n_shown = n_tokens
            if turn.looping and not (told or self.chat.limits.end_loops):
                view.remark("the answer repeats itself; Ctrl-C stops it")
                told = True

    def _show_event(self, event: TurnEvent, view: AnswerView, name: str, n_tokens: int) -> None:
        """Show an event, for which there were so many tokens. name: of the call that is being written."""
        if isinstance(event, ReasoningText):
            view.reasoning(event.text, n_tokens)
        elif isinstance(event, ContentText):
            view.content(event.text)
        elif isinstance(event, ToolCallEnd):
            asked = self._is_asked_about(event)
            view.tool_call_end(event.name, event.arguments, event.problem, asked=asked)
        elif isinstance(event, ToolCallResult):
            view.tool_result(event.name, event.text, event.failed)
        elif isinstance(event, ToolCallText):
            view.tool_call(name, event.text)
        elif isinstance(event, Compaction):
            view.remark(how_compacted(event, self.chat.conversation.n_turns))

    def _is_asked_about(self, call: ToolCallEnd) -> bool:
        """Whether the user will see a call with the question whether it may run."""
        if not isinstance(self.chat.approve, Confirmation):
            return False
        problem = call.problem or self.chat.toolbox.problem(call.name, call.arguments)
        return problem is None and self.chat.approve.asks(call.name, call.arguments)

    def _tell_end(self, turn: Turn, before: ExpertStatistics | None) -> None:
        """How a turn went, and whether there is room for more."""
        if self.settings.stats is not False:
            lines = stats_line(self.model, turn.timings, before)
            note(lines if self.settings.stats else lines.splitlines()[0])
        answer = turn.answers[-1]
        if told := why_no_answer(answer):
            self.n_unanswered += 1
            note(told)
        if answer.finish_reason == "cancelled" and answer.looping:
            note("The answer repeated itself and was ended.")
        elif not told and answer.finish_reason == "length":
            note(f"Ended after {answer.timings.n_generated} tokens, as max_tokens says.")
        if answer.finish_reason == "context":
            larger = "a larger --ctx makes room" if self.chat.may_be_larger else ""
            advice = self._advice() or larger or "the model was trained for no more"
            note(f"The context of {self.chat.n_ctx} tokens is full: {advice}.")
        elif self.has_commands and self.chat.n_used > NEARLY_FULL * self.chat.n_ctx:
            note(f"{self.context_use()}: {self._outlook()}.")

    def _outlook(self) -> str:
        """What is to be done, or will be, about a context that is nearly full."""
        if self.settings.when_full == "stop":
            return f"{self._advice()}, before it is full"
        done = "dropped" if self.settings.when_full == "drop" else "summarised"
        return f"the oldest turns will be {done} when it is full"

    def _advice(self) -> str:
        """The command that makes room in the context, if there is one."""
        n_turns = self.chat.conversation.n_turns
        if not self.has_commands or not n_turns:
            return ""
        return f"{'/compact' if n_turns > 1 else '/undo or /clear'} makes room"

    def change_model(self, name: str) -> list[str]:
        """Go on with another model; tells what of the settings it cannot have and is dropped.

        Raises GlmqError, and keeps this model, when the other cannot answer here.
        """
        from ..sampling.recommendations import recommended

        with ExitStack() as opening:
            model = opening.enter_context(self.open_model(name))
            settings = self.settings.suited_to(
                recommended(model.file.metadata), recommended_limits(model.file.metadata)
            )
            dropped = self.chat.change_model(model, settings.options(self.constraint))
            settings, names = settings.without(dropped)
            self.model = model
            self._take_settings(settings)
            self.opened.close()
            self.opened.push(opening.pop_all())
        told = [f"This model has no choice of {name}: that setting is dropped." for name in names]
        if "tools" in dropped:
            told.append("This model's chat template tells of no tools: none are offered to it.")
        if self.chat.kept is not None:
            told.append(f"{self.chat.kept.path} is kept with this model from now on.")
        return told

    def restore_session(self) -> None:
        """Take up what the session file holds, if anything, and tell how much of it."""
        kept = self.chat.kept
        if kept is None or kept.is_new:
            return
        try:
            self.chat.go_on_in(kept)
        except WrongSession as error:
            raise GlmqError(f"{error}; /load {kept.path} takes up its messages alone") from None
        if self.chat.reason:
            note(self.chat.reason)
        note(f"Going on with {counted(self.chat.conversation.n_turns, 'turn')}, {self.context_use()}.")

    def save_session(self) -> None:
        """Save messages and state to the session file, if there is one. Raises GlmqError."""
        if self.chat.kept is not None:
            self.chat.save()

    def context_use(self) -> str:
        """How full the context is, and what is about to go into it."""
        size = self.chat.n_ctx
        used = min(self.chat.n_used, size)
        text = f"context {used:,} of {size:,} tokens ({used / size:.0%})"
        n_attached = len(self.chat.attached)
        return f"{text}, {counted(n_attached, 'file')} attached" if n_attached else text

    def described(self) -> str:
        """Which model this is and how it runs."""
        name = self.model.file.metadata.get("general.name") or self.model.path.name
        return f"{name} · context {self.model.n_ctx} · {self.model.n_threads} threads"

    def statistics(self) -> str:
        """How the model uses memory, what guessing tokens has come to, and how full the context is."""
        return f"{memory_line(self.model)}\n{self.model.drafts.line()}\n{self.context_use()}"


def how_compacted(done: Compaction, n_turns: int) -> str:
    """A line on what was made of the oldest turns. n_turns: that are left."""
    oldest, left = counted(done.n_turns, "turn"), counted(n_turns, "turn")
    sizes = f"{done.n_after:,} tokens instead of {done.n_before:,}"
    how = "Summarised" if done.summary else "Dropped"
    if done.lacks_summary:
        how = "No summary made enough room: dropped"
    return f"{how} the oldest {oldest}; the conversation has {left} now, {sizes}."
