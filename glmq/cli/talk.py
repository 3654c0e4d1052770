"""A chat with a model: questions, answers with their rounds of tool calls, and what is kept of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from glmq_kernels.errors import GlmqError

from ..answer_costs import Timings
from ..chat.answer_limits import recommended_limits
from ..chat.conversation import Conversation
from ..chat.messages import Message, check_messages
from ..chat.thinking import render_turn
from ..chat.tool_definitions import knows_tools
from ..errors import ContextFull
from .answer_view import AnswerView
from .conversation_tokens import conversation_tokens
from .open_answer_view import open_answer_view
from .options import Status
from .stats import memory_line, stats_line, why_no_answer
from .summary import summary_of
from .talk_settings import TalkSettings
from .terminal import counted, note
from .tool_options import Confirmation

if TYPE_CHECKING:
    from ..chat.answer import Answer
    from ..chat.events import ToolCallEnd
    from ..constraint import Constraint
    from ..experts.statistics import ExpertStatistics
    from ..model import Model
    from ..session import Session
    from ..session_file import SessionFile
    from ..tools import ToolBox
    from ..tools.rounds import Approve

NEARLY_FULL = 0.8
"""Share of the context from which on the user is told."""


@dataclass
class Talk:
    """A model, the conversation with it, and how it answers.

    open_model: loads another one by name. opened: closes the present one. constraint: what answers are
    held to, if anything. kept: the session file where everything is saved after each answer. attached: files
    that go with the next message. exported: files that the conversation was exported to, as they were then.
    has_commands: whether the user can give commands. answers_once: whether the program ends behind the first
    answer. tools: definitions of those that the model is told of. n_unanswered: turns that ended without an
    answer. told: what calls are not held to, as it was told.
    """

    model: Model
    conversation: Conversation
    settings: TalkSettings
    toolbox: ToolBox
    approve: Approve
    max_rounds: int
    open_model: Callable[[str], AbstractContextManager[Model]]
    opened: ExitStack
    constraint: Constraint | None = None
    kept: SessionFile | None = None
    status: Status = field(default_factory=Status)
    attached: list[str] = field(default_factory=list)
    exported: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    has_commands: bool = True
    answers_once: bool = False
    n_unanswered: int = 0
    told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._session: Session = self.model.session()
        self._counted: tuple[list[Message], int] = [], 0
        self.tools = self.toolbox.definitions

    def check(self, model: Model, settings: TalkSettings) -> None:
        """Raise GlmqError where a model cannot answer with such settings and these tools."""
        tools = self.tools
        question = {"role": "user", "content": "?"}
        render_turn(model.chat_template, [question], thinking=settings.think, preserve=settings.think_keep)
        if tools and not knows_tools(model.chat_template):
            raise GlmqError("the model's chat template tells of no tools; leave out --tools and --mcp")
        strict = settings.strict_tools and tools
        if strict and self.constraint:
            raise GlmqError("leave out --strict-tools or what answers are held to; both together cannot be")
        if strict:
            from ..constraint import tool_call_constraint

            for each in tool_call_constraint(tools, model.tokenizer).notes:
                if each not in self.told:
                    note(f"Not held: {each}")
                    self.told.add(each)
        elif self.constraint:
            self.constraint.guide(model.tokenizer)

    def change_settings(self, settings: TalkSettings) -> None:
        """Go on with other settings. Raises GlmqError, and keeps these, when the model cannot have them."""
        self.check(self.model, settings)
        self.settings = settings

    def ask(self, text: str, think: bool | None = None) -> None:
        """Say something, with the attached files before it, and answer it.

        think: of this turn, if it is to be another than that of the settings.
        """
        content = "\n\n".join([*self.attached, text])
        think = self.settings.think if think is None else think
        n_turns = self.conversation.n_turns
        try:
            self.answer(partial(self.conversation.add, "user", content, thinking=think))
        finally:
            if self.conversation.n_turns > n_turns:
                self.attached = []

    def answer(self, change: Callable[[], object]) -> None:
        """Change the conversation, then answer its last message. Ctrl-C ends it.

        What is there of an answer stays in the conversation; when nothing is, the change is taken back.
        Raises GlmqError for what stops it.
        """
        from ..tools import run_rounds

        unchanged, advice = list(self.conversation.messages), self._advice()
        change()
        messages = self.conversation.messages
        n_before = len(messages)
        before = self.model.experts.statistics.copy() if self.model.experts else None
        answers: list[Answer] = []
        try:
            with self._view() as view:
                whole = run_rounds(
                    messages, partial(self._respond, view, answers), self.toolbox, approve=self.approve,
                    on_result=lambda call, result: view.tool_result(call.name, result.text, result.failed),
                    max_rounds=self.max_rounds,
                )  # fmt: skip
            if not whole:
                rounds = counted(self.max_rounds, "round")
                note(f"Ended after {rounds} of tool calls; --max-rounds allows more.")
        except ContextFull as error:
            raise ContextFull(f"{error}{advice and '; '}{advice}", setting=error.setting) from None
        except KeyboardInterrupt:
            if self.answers_once or not sys.stdin.isatty():
                raise
        finally:
            self.status.clear()
            if len(messages) == n_before:
                self.conversation.messages = unchanged
        if not answers:
            note("Stopped before the answer began.")
            return
        self._tell_end(answers, before)
        self.save_session()

    def _view(self) -> AnswerView:
        return open_answer_view(markdown=self.settings.markdown, thinking=self.settings.think_view)

    def _respond(self, view: AnswerView, answers: list[Answer], messages: list[Message]) -> Message:
        """The model's next message. When it is stopped what is there of it is appended."""
        answer = self._answer_to(messages)
        try:
            self._show(answer, view)
        except BaseException:
            answer.cancel()
            stopped = answer.message
            stopped.pop("tool_calls", None)
            if stopped["content"] or stopped.get("reasoning_content"):
                messages.append(stopped)
                answers.append(answer)
            raise
        answers.append(answer)
        return answer.message

    def _answer_to(self, messages: Sequence[Message]) -> Answer:
        return self.model.chat(
            messages,
            tools=self.tools or None,
            preserve_thinking=self.settings.think_keep,
            think_budget=self.settings.think_budget,
            strict_tools=self.settings.strict_tools,
            constraint=self.constraint,
            sampling=self.settings.sampling,
            max_tokens=self.settings.max_tokens,
            session=self._session,
            progress=self.status.reading,
        )

    def _show(self, answer: Answer, view: AnswerView) -> None:
        from ..chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd

        name, n_shown, told = "", 0, False
        for event in answer.events():
            self.status.clear()
            n_tokens = answer.timings.n_generated
            if isinstance(event, ReasoningText):
                view.reasoning(event.text, n_tokens - n_shown)
            elif isinstance(event, ContentText):
                view.content(event.text)
            elif isinstance(event, ToolCallBegin):
                name = event.name
            elif isinstance(event, ToolCallEnd):
                asked = self._is_asked_about(event)
                view.tool_call_end(event.name, event.arguments, event.problem, asked=asked)
            else:
                view.tool_call(name, event.text)
            n_shown = n_tokens
            if answer.looping and self.settings.limits.end_loops:
                answer.cancel()
            elif answer.looping and not told:
                view.remark("the answer repeats itself; Ctrl-C stops it")
                told = True

    def _is_asked_about(self, call: ToolCallEnd) -> bool:
        """Whether the user will see a call with the question whether it may run."""
        if not isinstance(self.approve, Confirmation):
            return False
        problem = call.problem or self.toolbox.problem(call.name, call.arguments)
        return problem is None and self.approve.asks(call.name, call.arguments)

    def _tell_end(self, answers: Sequence[Answer], before: ExpertStatistics | None) -> None:
        """How the rounds of a turn went, and whether there is room for more."""
        if self.settings.stats is not False:
            rounds = [answer.timings for answer in answers]
            timings = replace(sum(rounds, Timings()), n_cached=rounds[0].n_cached)
            lines = stats_line(self.model, timings, before)
            note(lines if self.settings.stats else lines.splitlines()[0])
        if told := why_no_answer(answers[-1]):
            self.n_unanswered += 1
            note(told)
        if answers[-1].finish_reason == "cancelled" and answers[-1].looping:
            note("The answer repeated itself and was ended.")
        elif not told and answers[-1].finish_reason == "length":
            note(f"Ended after {answers[-1].timings.n_generated} tokens, as max_tokens says.")
        if answers[-1].finish_reason == "context":
            larger = "a larger --ctx makes room" if self._session.may_be_larger else ""
            advice = self._advice() or larger or "the model was trained for no more"
            note(f"The context of {self._session.n_ctx} tokens is full: {advice}.")
        elif self.has_commands and self.n_used > NEARLY_FULL * self._session.n_ctx:
            note(f"{self.context_use()}: {self._advice()}, before it is full.")

    def _advice(self) -> str:
        """The command that makes room in the context, if there is one."""
        if not self.has_commands or not self.conversation.n_turns:
            return ""
        return f"{'/compact' if self.conversation.n_turns > 1 else '/undo or /clear'} makes room"

    def summary(self, messages: Sequence[Message]) -> str:
        """The model's summary of messages. Raises GlmqError when it gives none."""
        return summary_of(messages, self.model, self._session, self.settings.sampling, self.status)

    def attach(self, path: Path, text: str) -> None:
        """Put a file before the next message."""
        self.attached.append(f"File {path.name}:\n\n{text.rstrip()}")

    def change_model(self, name: str) -> list[str]:
        """Go on with another model; tells what of the settings it cannot have and is dropped.

        Raises GlmqError, and keeps this model, when the other cannot answer here.
        """
        from ..chat.thinking import thinking_format
        from ..sampling.recommendations import recommended

        with ExitStack() as opening:
            model = opening.enter_context(self.open_model(name))
            settings = self.settings.suited_to(
                recommended(model.file.metadata), recommended_limits(model.file.metadata)
            )
            settings, dropped = settings.possible_with(thinking_format(model.chat_template))
            told = [f"This model has no choice of {name}: that setting is dropped." for name in dropped]
            before, self.tools = self.tools, self.toolbox.definitions
            if self.tools and not knows_tools(model.chat_template):
                self.tools = []
                told.append("This model's chat template tells of no tools: none are offered to it.")
            try:
                self.check(model, settings)
            except GlmqError:
                self.tools = before
                raise
            self.model, self.settings, self._session = model, settings, model.session()
            self._counted = [], 0
            self.opened.close()
            self.opened.push(opening.pop_all())
        if self.kept is not None:
            told.append(f"{self.kept.path} is kept with this model from now on.")
        return told

    def restore_session(self) -> None:
        """Take up what the session file holds, if anything, and tell how much of it."""
        from ..errors import WrongSession

        if self.kept is None or self.kept.is_new:
            return
        try:
            restored = self.kept.restore(self.model.session())
        except WrongSession as error:
            raise GlmqError(f"{error}; /load {self.kept.path} takes up its messages alone") from None
        system = self.conversation.system
        try:
            self.conversation.messages = check_messages(restored.extra.get("messages"))
        except GlmqError as error:
            raise GlmqError(f"{self.kept.path} holds no conversation: {error}") from None
        if system:
            self.conversation.set_system(system)
        self._session = restored.session
        if restored.reason:
            note(restored.reason)
        note(f"Going on with {counted(self.conversation.n_turns, 'turn')}, {self.context_use()}.")

    def save_session(self) -> None:
        """Save messages and state to the session file, if there is one. Raises GlmqError."""
        if self.kept is not None:
            self.kept.save(self._session, {"messages": self.conversation.messages})

    def keep_in(self, path: Path, *, force: bool = False) -> None:
        """Save everything to another session file from now on.

        Raises FileExists where only `force` does it, GlmqError when it is not possible; nothing changes then.
        """
        from ..session_file import SessionFile

        kept = SessionFile(path)
        try:
            kept.save(self._session, {"messages": self.conversation.messages}, force=force)
        except BaseException:
            kept.close()
            raise
        if self.kept is not None:
            self.kept.close()
        self.kept = kept

    @property
    def n_used(self) -> int:
        """Tokens of the context that the conversation takes."""
        messages, n_tokens = self._counted
        now = self.conversation.messages
        if len(messages) != len(now) or any(a is not b for a, b in zip(messages, now, strict=True)):
            n_tokens = self._count() if now else 0
            self._counted = list(now), n_tokens
        return n_tokens

    def _count(self) -> int:
        try:
            return conversation_tokens(
                self.model, self._session, self.conversation.messages, self.settings, self.tools
            )
        except GlmqError:  # a template that takes no conversation without a question at its end
            return len(self._session.tokens) + len(self._session.drawn)

    def context_use(self) -> str:
        """How full the context is, and what is about to go into it."""
        size = self._session.n_ctx
        used = min(self.n_used, size)
        text = f"context {used:,} of {size:,} tokens ({used / size:.0%})"
        return f"{text}, {counted(len(self.attached), 'file')} attached" if self.attached else text

    def described(self) -> str:
        """Which model this is and how it runs."""
        name = self.model.file.metadata.get("general.name") or self.model.path.name
        return f"{name} · context {self.model.n_ctx} · {self.model.n_threads} threads"

    def statistics(self) -> str:
        """How the model uses memory, how well that works, and how full the context is."""
        return f"{memory_line(self.model)}\n{self.context_use()}"
