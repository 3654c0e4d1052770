"""What can be asked of a model: to go on with a text, to answer, to call tools."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from .answer_session import GivenSession
from .argument_checks import check_call, check_count, check_names, check_prompt, check_switch, stop_texts
from .loaded_model import LoadedModel
from .session import Evaluated, Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .chat.answer import Answer
    from .chat.chat_session import ChatSession
    from .chat.options import ChatArguments, ChatOptionNames, ChatOptions, ConversationArguments
    from .chat.tool_turn import AsyncToolRunArguments, ToolRunArguments
    from .chat.turn import Turn
    from .constraint import Constraint
    from .generation import Generation
    from .guide import Guide
    from .sampling import Sampling
    from .sampling.changes import SamplingNames
    from .tools.own_functions import Tools
    from .tools.rounds import Approve


class Model(LoadedModel):
    """A loaded model. Make one with `load`; close it, or use it in a `with` statement."""

    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        constraint: Constraint | Guide | None = None,
        session: Session | None = None,
        progress: Evaluated | None = None,
        logprobs: int | None = None,
        **changes: Unpack[SamplingNames],
    ) -> Generation:
        """Continue a text or token ids; iterate over the result for pieces of text.

        sampling: what suits the model unless it is given; temperature, top_p, seed and all other fields of
        `Sampling` may be given alone. Without `session` the answer has a sequence of its own. A prompt that
        begins like an earlier one uses again what was evaluated then, as long as there is memory for it. Any
        number of answers can run at once, each in a thread of its own. stop: a text or several, the first of
        which ends it. constraint: what the output must be (`glmq.constraint`), or a guide for this
        generation. progress(tokens done, tokens wanted) is called while a prompt is read. logprobs: how many
        of the likeliest tokens are told for each token, beside its own log-probability, in
        `Generation.logprobs`.

        Raises TypeError and GlmqError, before anything is evaluated, for arguments that cannot be,
        ModelClosed, and WrongSession for a session of another model. Its iteration raises SessionBusy when
        the session is being used.
        """
        from .constraint import Constraint
        from .drawing import Drawing
        from .generation import Generation
        from .sampling.changes import SamplingChanges

        check_prompt(prompt)
        check_count("max_tokens", max_tokens, 0)
        check_call("progress", progress)
        check_count("logprobs", logprobs, 0)
        stop = stop_texts(stop)
        check_names("Model.generate", changes, [each.name for each in fields(SamplingChanges)])
        sampling = SamplingChanges(**changes).of_model(self.file.metadata, sampling)
        self._require_usable(session)
        if isinstance(prompt, str):
            prompt = self.tokenizer.encode(prompt, add_bos=self.tokenizer.add_bos)
        guide = constraint.guide(self.tokenizer) if isinstance(constraint, Constraint) else constraint
        source = self._own_session() if session is None else GivenSession(session, self._under_way)
        drafting = self._drafting
        new_drafting = partial(drafting.of_answer, tokenizer=self.tokenizer) if drafting is not None else None
        drawing = Drawing(
            source, self.tokenizer, prompt, sampling, max_tokens, stop, progress, guide, logprobs,
            new_drafting,
        )  # fmt: skip
        return Generation(drawing)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        options: ChatOptions | None = None,
        session: Session | None = None,
        progress: Evaluated | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool | str = False,
        **names: Unpack[ChatOptionNames],
    ) -> Answer:
        """Answer a conversation: messages with `role` and `content`, as in OpenAI's API.

        Iterate over the result for pieces of the answer's text, or over its `events()` for thinking and tool
        calls too. tools: definitions in OpenAI's form; calls are in the result, nothing is run. options: how
        to answer; each field of `ChatOptions` can also be given by its name, which goes before `options`:
        thinking, constraint, temperature, max_tokens, stop and others. session, progress: as of `generate`.
        continue_final_message: go on with the last message's content, or the key of that name such as
        "reasoning_content".

        What the session holds of an earlier turn is used again, token by token as it was generated. Names of
        special tokens in messages are text like any other. Raises TypeError for arguments of wrong types or
        unknown names, and GlmqError for messages that are not whole or hold what the model cannot read, such
        as images.
        """
        from .chat.answer import Answer
        from .chat.options import with_names
        from .chat.preparation import prepare_answer

        options = with_names(options, names, of="Model.chat")
        check_switch("add_generation_prompt", add_generation_prompt)
        check_call("progress", progress)
        self._require_usable(session)

        def known(prompt: str) -> Sequence[int]:
            if session is None:
                return self._answers.closest(prompt, self.tokenizer)
            return [*session.tokens, *session.drawn]

        prepared = prepare_answer(
            self.chat_template, self.tokenizer, messages, tools, options, known,
            add_generation_prompt=add_generation_prompt, continue_final_message=continue_final_message,
        )  # fmt: skip
        generation = self.generate(
            prepared.tokens, sampling=options.of_model(self.file.metadata, options.sampling),
            max_tokens=options.max_tokens, session=session, progress=progress, constraint=prepared.guide,
            logprobs=options.logprobs,
        )  # fmt: skip
        return Answer(generation, prepared.parser, options.stop, prepared.notes)

    async def achat(
        self, messages: Sequence[Mapping[str, Any]], **arguments: Unpack[ChatArguments]
    ) -> Answer:
        """`chat` for an event loop: a thread makes the prompt; `progress` is called in the loop's thread."""
        from .event_loop import in_thread, told_in_loop

        check_call("progress", progress := arguments.get("progress"))
        if progress is not None:
            arguments["progress"] = told_in_loop(progress)
        return await in_thread(lambda: self.chat(messages, **arguments))

    def conversation(
        self,
        system: str | None = None,
        tools: Tools | None = None,
        options: ChatOptions | None = None,
        *,
        approve: Approve | None = None,
        max_rounds: int | None = None,
        when_full: str = "stop",
        progress: Evaluated | None = None,
    ) -> ChatSession:
        """A conversation with a session and a history of its own.

        system: the system message. tools: functions and sources of tools (`glmq.tools`) that the model may
        call, or a `ToolBox`, which the caller closes. options: how to answer. approve(call): whether a call
        may run, True, False or a text that says why not; all may unless it is given. max_rounds: of calls in
        one turn, by default 16. when_full: what is done before an answer for which the context has no room:
        "stop", or "drop" or "summarise" the oldest turns. progress(tokens done, tokens wanted) is called
        while prompts are read. Raises GlmqError where this model cannot have such tools or options.
        """
        from .chat.chat_session import ChatSession

        self._engine.require_usable()
        return ChatSession(
            self, system=system, tools=tools, options=options, approve=approve, max_rounds=max_rounds,
            when_full=when_full, progress=progress,
        )  # fmt: skip

    def load_conversation(
        self, path: str | os.PathLike[str], **arguments: Unpack[ConversationArguments]
    ) -> ChatSession:
        """A conversation that goes on from a file (see `ChatSession.load`); the rest as of `conversation`."""
        chat = self.conversation(**arguments)
        try:
            chat.load(path)
        except BaseException:
            chat.close()
            raise
        return chat

    def run_tools(
        self, messages: list[dict[str, Any]], tools: Tools, **arguments: Unpack[ToolRunArguments]
    ) -> Turn:
        """Answer a conversation, running the tools that the model calls until it answers.

        Iterate over the result as over an `Answer`; its events also tell results of calls. All that comes is
        appended to `messages`. tools: functions, which need type hints and docstrings, and sources of tools
        (`glmq.tools`), or a `ToolBox`, which the caller closes. approve, max_rounds: as of `conversation`;
        the rest as of `chat`.
        """
        from .chat.tool_turn import tool_turn

        self._require_usable(arguments.get("session"))
        return tool_turn(self, messages, tools, arguments)

    async def arun_tools(
        self, messages: list[dict[str, Any]], tools: Tools, **arguments: Unpack[AsyncToolRunArguments]
    ) -> Turn:
        """`run_tools` for an event loop: take the `aevents()` of what it gives.

        `approve`, which may be async, and `progress` are called in the loop's thread.
        """
        from .chat.tool_turn import atool_turn

        self._require_usable(arguments.get("session"))
        return await atool_turn(self, messages, tools, arguments)
