"""A session: a sequence of tokens with its KV cache, extended and rewound."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from glmq_kernels.arrays import copy_of, zeros
from glmq_kernels.errors import GlmqError
from glmq_kernels.gemm.sizes import ROW_TOKENS
from glmq_kernels.machine.fork_safe_lock import ForkSafeLock

from .commit_file import Commit
from .engine import Engine
from .errors import ContextFull, NotFinite, SessionBusy, WrongSession
from .gguf import GET_IT_AGAIN, GGUFFile
from .kv_cache.sequence import Sequence as TokenSequence
from .kv_cache.tree_node import common_prefix
from .prediction import Predicted
from .scheduling.request import ALONE
from .session_file import save_session

Evaluated = Callable[[int, int], None]
"""Called with the numbers of tokens done and wanted."""

_claims = ForkSafeLock()
"""Held while a session is claimed or released."""


class User(Protocol):
    """What uses a session, one at a time."""

    @property
    def cancelled(self) -> bool:
        """Whether it is to go no further."""

    @property
    def has_ended(self) -> bool:
        """Whether it will not touch the session any more."""


class Call:
    """A user for the time of a call."""

    cancelled = False
    has_ended = False


@dataclass
class CheckedDraft:
    """What a run has found out about a draft: tokens that stand behind a sequence, and what follows them.

    tokens: those that may still be appended. logits: float32 (1 + n, n_vocab), after the sequence and after
    each of the draft.
    """

    tokens: list[int]
    logits: np.ndarray

    def take(self, n: int) -> np.ndarray:
        """The logits after the first `n` tokens, which are appended."""
        self.tokens, self.logits = self.tokens[n:], self.logits[n:]
        logits: np.ndarray = self.logits[0]
        return logits


class Session:
    """One conversation's state in a model. Any number of them share an engine, side by side.

    A session is used by one answer or call at a time; another one meanwhile raises SessionBusy. After the
    model is closed everything raises ModelClosed.

    sequence: its tokens and their pages of the KV cache. drawn: what was drawn to follow them and is not
    evaluated yet. saved_as: name of the state that was last saved or restored; n_saved: how many of its first
    tokens are still the same. saves: all states that files had when it was saved to or restored from them.
    beside: what of other sequences decoded in its last run.
    """

    def __init__(self, engine: Engine, file: GGUFFile, n_ctx: int) -> None:
        engine.require_usable()
        self.n_ctx = n_ctx
        self.sequence = TokenSequence(engine.prefix_tree)
        self.drawn: list[int] = []
        self.file = file
        self.saved_as = ""
        self.n_saved = 0
        self.saves: set[Commit] = set()
        self._engine = engine
        self.beside = ALONE
        self._user: weakref.ref[User] | None = None
        self._checked: CheckedDraft | None = None

    @property
    def tokens(self) -> list[int]:
        """Those that are evaluated."""
        return self.sequence.tokens

    def evaluate(
        self,
        tokens: Sequence[int],
        progress: Evaluated | None = None,
        *,
        draft: Sequence[int] = (),
        promised: float = 0.0,
        user: User | None = None,
    ) -> np.ndarray:
        """Append tokens; gives the logits after the last one, float32 (n_vocab,).

        draft: guesses of what follows them, which are evaluated in the same run and not appended. As long as
        the next calls append just these, one after another, their results are there (`knows`). Tokens and
        draft together are at most as many as the row form takes at once, so that no bit changes by a draft.
        promised: how many of the draft will probably be appended.

        Raises ContextFull before anything is changed when they do not fit, OutOfPages when other sequences
        have the memory, NotFinite when a logit is not a number; `tokens` are then what they were. What ends
        it early (Ctrl-C) leaves `tokens` as far as they were evaluated. user: who has claimed the session;
        Cancelled is raised, within a second, when it has been cancelled.
        """
        with self._used_by(user) as user:
            if self.knows(tokens):
                return self._take_checked(tokens)
            n_rows = len(tokens) + len(draft)
            assert not draft or n_rows <= ROW_TOKENS, "a draft takes the row form"
            logits = self._run(tokens, user, 1 + len(draft), progress, draft, promised)
            if len(logits) > 1:
                self._checked = CheckedDraft(list(draft), logits)
            return self._finite(logits[0], len(tokens))

    def knows(self, tokens: Sequence[int]) -> bool:
        """Whether the last run's draft begins with these tokens, so that appending them costs nothing."""
        checked = self._checked
        return checked is not None and len(tokens) > 0 and checked.tokens[: len(tokens)] == list(tokens)

    def take_known(self) -> None:
        """Append the tokens of `drawn`, but the last, with which the last run's draft begins, at no cost.

        Only where all of them take the row form, so that no bit changes by a draft.
        """
        checked, drawn = self._checked, self.drawn
        if checked is not None and 1 < len(drawn) <= ROW_TOKENS and not self.closed:
            n = common_prefix(checked.tokens, drawn[:-1])
            self.sequence.extend(drawn[:n])
            checked.take(n)
            self.drawn = drawn[n:]

    def evaluate_all(self, tokens: Sequence[int], n_last: int | None = None) -> np.ndarray:
        """Append tokens; gives the logits after each, float32 (n_tokens, n_vocab).

        n_last: only those after the last so many tokens are wanted.
        """
        n_outputs = len(tokens) if n_last is None else min(n_last, len(tokens))
        with self._used_by(None) as user:
            return self._finite(self._run(tokens, user, n_outputs, progress=None), len(tokens))

    @property
    def predicts(self) -> bool:
        """Whether the model was loaded with its layer of multi-token prediction, for `draft`."""
        return self._engine.predicts

    def draft(
        self,
        tokens: Sequence[int],
        n_most: int,
        *,
        wants_more: Callable[[Sequence[Predicted]], bool] = lambda guesses: True,
        user: User | None = None,
    ) -> list[Predicted]:
        """Guess up to `n_most` tokens behind these, which follow its own and are not evaluated.

        By multi-token prediction (see `Engine.draft`); the session stays as it is. wants_more: asked behind
        each guess with all of them, in another thread.
        """
        with self._used_by(user) as user:
            self._check(copy_of(tokens, np.int64))
            n_most = min(n_most, self.n_ctx - len(self.tokens) - len(tokens))
            return self._engine.draft(
                self.sequence, tokens, n_most, wants_more=wants_more, is_cancelled=lambda: user.cancelled
            )

    def require_room(self, n: int) -> None:
        """Raise ContextFull when a sequence of `n` tokens is too long for the context."""
        if n > self.n_ctx:
            may_be_larger = self.may_be_larger
            remedy = (
                "; make it larger or the text shorter"
                if may_be_larger
                else ", and the model was trained for no more; make the text shorter"
            )
            raise ContextFull(
                f"{n} tokens do not fit into a context of {self.n_ctx}{remedy}",
                n_tokens=n,
                n_ctx=self.n_ctx,
                setting="n_ctx" if may_be_larger else None,
            )

    @property
    def may_be_larger(self) -> bool:
        """Whether the model was trained for a larger context than this."""
        return self.n_ctx < trained_context(self.file, self.n_ctx)

    @property
    def n_known(self) -> int:
        """How many tokens of the last run's draft may still be appended at no cost."""
        return 0 if self._checked is None else len(self._checked.tokens)

    def forget_draft(self) -> None:
        """Give back what the last run's draft holds, as nobody will append it."""
        if self._checked is not None:
            self._checked = None
            if not self.closed:
                self.sequence.rewind(len(self.tokens))

    def rewind(self, n: int, *, user: User | None = None) -> None:
        """Keep the first `n` tokens and forget the rest."""
        if not 0 <= n <= len(self.tokens):
            raise ValueError(f"cannot rewind {len(self.tokens)} tokens to {n}")
        with self._used_by(user):
            self._rewind(n)

    def adopt(self, tokens: Sequence[int], *, user: User | None = None) -> int:
        """Hold as many leading tokens of these as it, or any other sequence, has evaluated; gives how many.

        What else it holds is forgotten. Pages that are on the disk come back, which takes a while, until the
        user is cancelled.
        """
        with self._used_by(user) as user:
            self.n_saved = min(self.n_saved, common_prefix(self.tokens, tokens))
            self.drawn, self._checked = [], None
            return self.sequence.adopt(tokens, goes_on=self._goes_on(user))

    def save(
        self, path: str | os.PathLike[str], extra: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> None:
        """Write tokens, keys and values to a file, with `extra`, what else JSON can hold.

        `Model.restore_session` gives both back. In the file that it was last saved to or restored from
        only what is new is written. Whatever interrupts it, the file then holds the state before or the
        new one. A new file is for its owner alone (mode 0600).
        Raises FileExists for a session file whose last state is none that this session was saved to or
        restored from (another process may have gone on with it); `force` replaces that. Raises GlmqError
        when the file is in use by another process, cannot be written, or is no session file.
        """
        with self._used_by(None):
            self._engine.complete(self.sequence)
            save_session(Path(path), self, extra or {}, force=force)

    def __repr__(self) -> str:
        return f"<Session of {self.file.path.name}: {len(self.tokens)} of {self.n_ctx} tokens>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session cannot be copied or pickled; save it, and restore it from the file")

    @property
    def deterministic(self) -> bool:
        """Whether the model's results depend on tokens alone."""
        return self._engine.deterministic

    @property
    def closed(self) -> bool:
        """Whether the model is closed."""
        return self._engine.closed

    def require_engine(self, engine: Engine) -> None:
        """Raise WrongSession when this is not a session of the engine's model."""
        if self._engine is not engine:
            raise WrongSession(
                f"the session belongs to another model, {self._engine.path.name}; make one with the session()"
                f" of {engine.path.name}, or restore it there"
            )

    def claim(self, user: User) -> None:
        """Let nobody else use the session until `user` has ended, is gone, or releases it.

        Raises SessionBusy when somebody else uses it.
        """
        self._engine.require_usable()
        with _claims:
            holder = self._user() if self._user is not None else None
            if holder is not None and holder is not user and not holder.has_ended:
                raise SessionBusy(
                    "the session is answering or being evaluated already;"
                    " end that first, or use a session of its own"
                )
            self._user = weakref.ref(user)

    def release(self, user: User) -> None:
        """Let others use the session, if it is this user's."""
        with _claims:
            if self._user is not None and self._user() is user:
                self._user = None

    @contextmanager
    def _used_by(self, user: User | None) -> Iterator[User]:
        """For the time of a call: claimed for it where the caller has not claimed the session before."""
        user_now = Call() if user is None else user
        self.claim(user_now)
        try:
            yield user_now
        finally:
            if user is None:
                self.release(user_now)

    def _run(
        self,
        tokens: Sequence[int],
        user: User,
        n_outputs: int,
        progress: Evaluated | None,
        draft: Sequence[int] = (),
        promised: float = 0.0,
    ) -> np.ndarray:
        """Append tokens; gives the last `n_outputs` rows of logits, those of the draft among them.

        Fewer where the draft was left out.
        """
        wanted = copy_of([*tokens, *draft] if draft else tokens, np.int64)
        self._check(wanted)
        logits = zeros((n_outputs, self._engine.n_vocab), np.float32)
        self.drawn, self._checked = [], None
        self.sequence.wait_for_room(len(wanted), self._goes_on(user))
        try:
            request = self._engine.scheduler.evaluate(
                self._engine, self.sequence, wanted, logits, n_draft=len(draft), promised=promised,
                is_cancelled=lambda: user.cancelled, progress=progress,
            )  # fmt: skip
        except BaseException:
            self.sequence.rewind(len(self.tokens))  # gives back what was reserved for the rest
            raise
        self.beside = request.beside
        return request.logits

    def _goes_on(self, user: User) -> Callable[[], bool]:
        """Tells whether a user still wants what it waits for."""
        return lambda: not (user.cancelled or self.closed)

    def _take_checked(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens of the draft whose keys and values are there already."""
        assert self._checked is not None
        self.drawn = []
        self.sequence.extend(list(tokens))
        return self._finite(self._checked.take(len(tokens)), len(tokens))

    def _finite(self, logits: np.ndarray, n_new: int) -> np.ndarray:
        """The logits, and others may find what is new. Raises NotFinite, without the `n_new` last tokens."""
        # Both are NaN where one of the logits is; faster than asking each.
        if not np.isfinite((logits.min(), logits.max())).all():
            self._rewind(len(self.tokens) - n_new)
            raise NotFinite(
                f"{self.file.path}: the model's output is not finite (NaN or infinity among its logits);"
                f" the file is probably damaged: {GET_IT_AGAIN}"
            )
        self.sequence.publish(exact=True)
        return logits

    def _rewind(self, n: int) -> None:
        self.sequence.rewind(n)
        self.drawn, self._checked = [], None
        self.n_saved = min(self.n_saved, n)

    def _check(self, tokens: np.ndarray) -> None:
        if tokens.ndim != 1 or not tokens.size:
            raise ValueError("evaluate needs at least one token")
        if tokens.min() < 0 or tokens.max() >= self._engine.n_vocab:
            raise GlmqError(f"token ids must lie between 0 and {self._engine.n_vocab - 1}")
        self.require_room(len(self.tokens) + tokens.size)


def trained_context(file: GGUFFile, default: int) -> int:
    """Tokens of context that a model was trained for; `default` where its file does not tell."""
    return file.integer(f"{file.text('general.architecture')}.context_length", default, least=1)
