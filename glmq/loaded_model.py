"""A model in memory: its settings, its sessions, its state, and how it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.threads.tape import Work

from .answer_session import AnswersUnderWay, OwnSession, RecentAnswers
from .argument_checks import check_instance
from .drafting.model_drafting import ModelDrafting
from .engine import Engine
from .errors import ModelClosed
from .experts.trace import RoutingTrace
from .gguf import GGUFFile
from .kv_cache.page_file import DiskRoom
from .loading import NO_NODES, nodes_to_share, prepare_program
from .model_settings import context_size, model_settings
from .session import Session

if TYPE_CHECKING:
    from typing_extensions import Self

    from .chat.template import ChatTemplate
    from .drafting.statistics import DraftTotals
    from .kv_cache.cache_statistics import CacheStatistics
    from .session_file import Restored
    from .tokenizer import Tokenizer


class LoadedModel:
    """What all models are made of: sessions that evaluate tokens, state, and an end. `Model` answers."""

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
        draft_model: LoadedModel | None = None,
        reserved: int = 0,
        cache_disk: DiskRoom | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        """Beside what `load` takes:

        observes: of which tensors the inputs are added up. lookup: whether answers are drafted by look-up.
        prediction: the file with the layer of multi-token prediction, where it is wanted, this or another
        one; draft_model: a model that guesses tokens too. Both are closed with the model. reserved: bytes of
        the memory that is not for this model. cache_disk: disk space for pages of the KV cache. remarks: on
        the file, beside those that loading it brings.
        """
        self.file = file
        self._prediction_file = prediction
        self.path: Path = file.path
        self.architecture = file.text("general.architecture")
        settings = model_settings(file, n_ctx, n_threads, cache_type, activations, ram)
        self.n_ctx, self.n_threads = settings.n_ctx, settings.n_threads
        self.activations = settings.activations
        self.nodes = nodes_to_share(numa, self.n_threads)
        self._program, self.experts, self._memory_plan = prepare_program(
            file, settings, load, progress, observes, self.nodes, prediction, reserved
        )
        self._program.remarks += remarks
        if numa and not self.nodes:
            self._program.remarks.append(NO_NODES)
        try:
            self._engine = Engine(
                self._program, self.n_threads, self.file, self._memory_plan.kv_cache,
                deterministic=deterministic, nodes=self.nodes, progress=progress, prediction_file=prediction,
                cache_disk=cache_disk,
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
