"""A model loaded from a GGUF file: what `import glmq` gives, and what the command line uses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from glmq_kernels.cache_layout import CACHE_TYPES
from glmq_kernels.errors import UserError
from glmq_kernels.store import Progress
from glmq_kernels.strings import prepare
from glmq_kernels.tape import Work
from glmq_kernels.team import usable_cores

from .engine import Engine
from .gguf import GGUFFile, open_gguf
from .memory_plan import check_fit
from .models import build_function
from .session import Evaluated, Session

if TYPE_CHECKING:
    from .chat.template import ChatTemplate
    from .constraint import Constraint
    from .generation import Generation
    from .guide import Guide
    from .sampling import Sampling
    from .tokenizer import Tokenizer

DEFAULT_CONTEXT = 16384
"""Positions of a context unless the caller says otherwise or the model has fewer."""


class Model:
    """A loaded model. Make one with `load`; close it, or use it in a `with` statement."""

    def __init__(
        self,
        file: GGUFFile,
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        cache_type: str = "F16",
        progress: Progress | None = None,
    ) -> None:
        cache_type = cache_type.upper()
        if cache_type not in CACHE_TYPES:
            raise UserError(
                f"a KV cache of type {cache_type} is not known; choose {' or '.join(CACHE_TYPES)}"
            )
        build = build_function(file)
        self.file = file
        self.path: Path = file.path
        self.architecture = file.text("general.architecture")
        self.n_threads = n_threads or usable_cores()
        self.n_ctx = self._context_size(n_ctx)
        self._engine = Engine(
            lambda size, threads: build(file, size, threads, cache_type), self.n_threads, progress
        )
        shape = self._engine.cache_shape
        try:
            check_fit(self.path, file.n_bytes, shape.n_bytes(self.n_ctx), self.n_ctx)
        except UserError:
            self._engine.close()
            raise
        self._tokenizer: Tokenizer | None = None
        self._chat_template: ChatTemplate | None = None
        self._session: Session | None = None

    def _context_size(self, wanted: int | None) -> int:
        trained = self.file.integer(f"{self.architecture}.context_length", DEFAULT_CONTEXT, least=1)
        if wanted is None:
            return min(trained, DEFAULT_CONTEXT)
        if wanted < 1:
            raise UserError(f"a context of {wanted} tokens is too small")
        if wanted > trained:
            raise UserError(
                f"{self.path.name} was trained for {trained} tokens of context; choose --ctx {trained}"
            )
        return wanted

    @property
    def work(self) -> Work:
        """Bytes and multiply-adds of the matrix products of one token."""
        return self._engine.work

    @property
    def n_vocab(self) -> int:
        """Entries of the logits, at least the number of tokens."""
        return self._engine.n_vocab

    @property
    def tokenizer(self) -> Tokenizer:
        """The file's tokenizer, built when first asked for."""
        if self._tokenizer is None:
            from .tokenizer import load_tokenizer

            self._tokenizer = load_tokenizer(self.file)
        return self._tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        """The file's chat template, or the project's own for its architecture."""
        if self._chat_template is None:
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
        return Session(self._engine, self.n_ctx if n_ctx is None else self._context_size(n_ctx))

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
        stop: Sequence[str] = (),
        constraint: Constraint | Guide | None = None,
        session: Session | None = None,
        progress: Evaluated | None = None,
    ) -> Generation:
        """Continue a text or token ids; iterate over the result for pieces of text.

        Without `session` the model's own is used, so a prompt that begins like the last one reuses
        what was evaluated then. constraint: what the output must be (`glmq.constraint`), or a guide for this
        generation. progress(tokens done, tokens wanted) is called while a prompt is read.
        """
        from .constraint import Constraint
        from .generation import Generation
        from .sampling import Sampling

        if isinstance(prompt, str):
            prompt = self.tokenizer.encode(prompt, add_bos=self.tokenizer.add_bos)
        session = session or self._own_session()
        guide = constraint.guide(self.tokenizer) if isinstance(constraint, Constraint) else constraint
        return Generation(
            session, self.tokenizer, prompt, sampling or Sampling(), max_tokens, stop, progress, guide
        )

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        sampling: Sampling | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        session: Session | None = None,
        progress: Evaluated | None = None,
        **template_arguments: Any,
    ) -> Generation:
        """Answer a conversation: messages with `role` and `content`, as in Hugging Face's chat templates.

        What the session holds of an earlier turn is used again, token by token as it was generated.
        """
        from .chat.prompt import prompt_tokens

        session = session or self._own_session()
        text = self.chat_template.render(messages, **template_arguments)
        tokens = prompt_tokens(text, self.tokenizer, [*session.tokens, *session.drawn])
        return self.generate(
            tokens, sampling=sampling, max_tokens=max_tokens, stop=stop, session=session, progress=progress
        )

    def _own_session(self) -> Session:
        if self._session is None:
            self._session = self.session()
        return self._session

    def close(self) -> None:
        """End the model's threads and let go of the file."""
        self._engine.close()
        self._session = None
        self.file.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(
    path: str | os.PathLike[str],
    *,
    n_ctx: int | None = None,
    n_threads: int | None = None,
    cache_type: str = "F16",
    progress: Progress | None = None,
) -> Model:
    """Load a GGUF file.

    n_ctx: tokens of context; n_threads: default all cores; cache_type: F16 or Q8_0, of keys and values;
    progress(text, fraction): called while kernels compile, which happens once. Raises UserError with one
    line for what cannot be used.
    """
    if n_threads is not None and not 1 <= n_threads <= 1024:
        raise UserError(f"{n_threads} threads are not possible; choose 1 to {usable_cores()}")
    if progress:
        prepare(progress)
    file = open_gguf(path)
    try:
        return Model(file, n_ctx=n_ctx, n_threads=n_threads, cache_type=cache_type, progress=progress)
    except BaseException:
        file.close()
        raise
