"""A model loaded from a GGUF file: what `import glmq` gives, and what the command line uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.machine.cores import check_threads, core_count
from glmq_kernels.threads.tape import Work

from .answer_session import AnswersUnderWay, GivenSession, OwnSession, RecentAnswers
from .argument_checks import (
    check_call,
    check_count,
    check_instance,
    check_names,
    check_prompt,
    check_switch,
    stop_texts,
)
from .drafting.model_drafting import ModelDrafting
from .engine import Engine
from .errors import ModelClosed
from .experts.trace import RoutingTrace
from .gguf import GGUFFile
from .loading import NO_NODES, activation_type, context_size, nodes_to_share, prepare_program
from .session import Evaluated, Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .chat.answer import Answer
    from .chat.chat_session import ChatSession
    from .chat.options import ChatArguments, ChatOptionNames, ChatOptions, ConversationArguments
    from .chat.template import ChatTemplate
    from .chat.tool_turn import AsyncToolRunArguments, ToolRunArguments
    from .chat.turn import Turn
    from .constraint import Constraint
    from .drafting.statistics import DraftTotals
    from .generation import Generation
    from .guide import Guide
    from .kv_cache.prefix_tree import CacheStatistics
    from .sampling import Sampling
    from .sampling.changes import SamplingNames
    from .session_file import Restored
    from .tokenizer import Tokenizer
    from .tools.own_functions import Tools
    from .tools.rounds import Approve


class Model:
    """A loaded model. Make one with `load`; close it, or use it in a `with` statement."""

    def __init__(
        self,
        file: GGUFFile,
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        cache_type: str = "F16",
        activations: str = "auto",
        ram: int | None = None,
        load: str = "mmap",
        deterministic: bool = False,
        numa: bool = False,
        progress: Progress | None = None,
        observes: Callable[[str], bool] = lambda name: False,
        lookup: bool = True,
        prediction: GGUFFile | None = None,
        draft_model: Model | None = None,
        reserved: int = 0,
        remarks: Sequence[str] = (),
    ) -> None:
        """Beside what `load` takes:

        observes: of which tensors the inputs are added up. lookup: whether answers are drafted by look-up.
        prediction: the file with the layer of multi-token prediction, where it is wanted, this or another
        one; draft_model: a model that guesses tokens too. Both are closed with the model. reserved: bytes of
        the memory that is not for this model. remarks: on the file, beside those that loading it brings.
        """
        self.file = file
        self._prediction_file = prediction
        self.path: Path = file.path
        self.architecture = file.text("general.architecture")
        check_threads(n_threads)
        self.n_threads = n_threads or core_count()
        self.n_ctx = context_size(file, n_ctx)
        self.activations = activation_type(activations, file)
        self.nodes = nodes_to_share(numa, self.n_threads)
        self._program, self.experts, self._memory_plan = prepare_program(
            file,
            self.n_ctx,
            self.n_threads,
            cache_type,
            self.activations,
            ram,
            load,
            progress,
            observes,
            self.nodes,
            prediction,
            reserved,
        )
        self._program.remarks += remarks
        if numa and not self.nodes:
            self._program.remarks.append(NO_NODES)
        try:
            self._engine = Engine(
                self._program, self.n_threads, self.file, self._memory_plan.kv_cache,
                deterministic=deterministic, nodes=self.nodes, progress=progress, prediction_file=prediction,
            )  # fmt: skip
            if self.experts is not None:
                self._program.offload = self.experts.place(self._program.expert_layers)
        except BaseException:
            if self.experts is not None:
                self.experts.close()
            raise
        self._tokenizer: Tokenizer | None = None
        self._chat_template: ChatTemplate | None = None
        self._draft_model = draft_model
        self._drafting: ModelDrafting | None = None
        if lookup or prediction is not None or draft_model is not None:
            self._drafting = ModelDrafting(
                self._engine.scheduler.row_costs, self.n_vocab, lookup=lookup,
                new_draft_session=None if draft_model is None else draft_model.session,
            )  # fmt: skip
        self._answers, self._under_way = RecentAnswers(), AnswersUnderWay()
        self._takes_none = False

    def record_routing(self) -> RoutingTrace:
        """Begin to record which experts are chosen; what it gives holds the choices from now on."""
        self._engine.require_usable()
        self._program.on_routing = trace = RoutingTrace()
        return trace

    @property
    def work(self) -> Work:
        """Bytes and multiply-adds of the matrix products of one token."""
        return self._engine.work

    @property
    def n_operations(self) -> int:
        """Operations of a step, whatever the number of its tokens."""
        return self._engine.n_operations

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known of the file, a line each: where it was read otherwise than it says."""
        return tuple(self._program.remarks)

    @property
    def kv_cache(self) -> CacheStatistics:
        """What the pages of the KV cache are doing, and how often beginnings of texts were found in them."""
        return self._engine.prefix_tree.statistics()

    @property
    def batch(self) -> int:
        """Tokens of a prompt that are read at once."""
        return self._engine.scheduler.max_tokens

    @property
    def n_vocab(self) -> int:
        """Entries of the logits, at least the number of tokens."""
        return self._engine.n_vocab

    @property
    def tokenizer(self) -> Tokenizer:
        """The file's tokenizer, built when first asked for."""
        if self._tokenizer is None:
            self._require_open()
            from .tokenizer import load_tokenizer

            self._tokenizer = load_tokenizer(self.file)
        return self._tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        """The file's chat template, or the project's own for its architecture."""
        if self._chat_template is None:
            self._require_open()
            from .chat.template import template_of

            self._chat_template = template_of(self.file, self.tokenizer)
        return self._chat_template

    def tokenize(self, text: str, special: bool = True) -> list[int]:
        """Token ids of a text. `special`: names of special tokens in it stand for these tokens."""
        return self.tokenizer.encode(text, special=special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(tokens)

    def session(self, n_ctx: int | None = None) -> Session:
        """A new, empty session of up to `n_ctx` tokens (default: the model's `n_ctx`)."""
        self._engine.require_usable()
        size = self.n_ctx if n_ctx is None else context_size(self.file, n_ctx)
        return Session(self._engine, self.file, size)

    def restore_session(self, path: str | os.PathLike[str], n_ctx: int | None = None) -> Restored[Session]:
        """A new session with what `Session.save` wrote, and the `extra` that was saved with it.

        Where the state does not fit (another `cache_type`) or is damaged, the session holds less of it or
        nothing, and `reason` says why. Raises GlmqError when the file cannot be read or was saved with
        another model, ContextFull when it holds more tokens than the context.
        """
        from .session_file import restore_session

        self._engine.require_usable()
        return restore_session(Path(path), self.session(n_ctx))

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Next-token logits after each token of a text, float32 (n_tokens, n_vocab)."""
        session = self.session()
        return session.evaluate_all(list(tokens))

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

    @property
    def drafting(self) -> ModelDrafting | None:
        """How answers are drafted; None where they are not."""
        return self._drafting

    @property
    def drafts(self) -> DraftTotals:
        """What has come of guessing tokens in the answers that have ended."""
        from .drafting.statistics import DraftTotals

        return DraftTotals() if self._drafting is None else self._drafting.totals

    def _require_open(self) -> None:
        """Raise ModelClosed after `close`. What needs no threads works in a forked process too."""
        if self._engine.closed:
            self._engine.require_usable()

    def _require_usable(self, session: Session | None) -> None:
        """Raise an error when no answer can be given, or not with this session."""
        check_instance("session", session, Session, "Model.session()")
        self._engine.require_usable()
        if self._takes_none:
            raise ModelClosed(f"the model {self.path.name} is being closed; load it again")
        if session is not None:
            session.require_engine(self._engine)

    def _own_session(self) -> OwnSession:
        return OwnSession(self._engine, self.file, self.n_ctx, self._answers, self._under_way)

    def close(self, *, cancel: bool = True) -> None:
        """End the model's threads and let go of the file; may be called from any thread, and more than once.

        What is being answered ends as cancelled, after the batch that is being evaluated; with `cancel=False`
        all that has begun is answered first. Later use raises ModelClosed.
        """
        if not cancel:
            self._takes_none = True
            self._under_way.wait_for_none()
        self._engine.close(self._let_go)

    def _let_go(self) -> None:
        if self.experts is not None:
            self.experts.close()
        self.file.close()
        if self._prediction_file is not None:
            self._prediction_file.close()
        if self._draft_model is not None:
            self._draft_model.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._engine.closed else ""
        return f"<Model {self.path.name}: {self.architecture}, {self.n_ctx} tokens of context{closed}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a model cannot be copied or pickled; load its file again, also in another process")

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
