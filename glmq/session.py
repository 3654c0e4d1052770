"""A session: a sequence of tokens with its KV cache, extended and rewound."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.errors import UserError

from .engine import Engine
from .gguf import GET_IT_AGAIN, GGUFFile
from .kv_cache import KVCache

Evaluated = Callable[[int, int], None]
"""Called with the numbers of tokens done and wanted."""


class ContextFull(UserError):
    """More tokens than the context has room for."""


class NotFinite(UserError):
    """Logits that are NaN or infinite: the weights are damaged, or their numbers outgrow float32."""


class Session:
    """One conversation's state in a model. Any number of them share an engine, one batch at a time.

    tokens: those that the KV cache holds. drawn: what was drawn to follow them and is not evaluated yet.
    saved_as: name of the state that was last saved or restored; n_saved: how many of its first
    tokens are still the same.
    """

    def __init__(self, engine: Engine, file: GGUFFile, n_ctx: int) -> None:
        self.n_ctx = n_ctx
        self.tokens: list[int] = []
        self.drawn: list[int] = []
        self.file = file
        self.cache = KVCache(engine.cache_shape, n_ctx)
        self.saved_as = ""
        self.n_saved = 0
        self._engine = engine

    def evaluate(self, tokens: Sequence[int], progress: Evaluated | None = None) -> np.ndarray:
        """Append tokens; gives the logits after the last one, float32 (n_vocab,).

        Raises ContextFull before anything is changed when they do not fit, NotFinite when a logit is not a
        number; `tokens` are then what they were. An exception between batches (Ctrl-C) leaves `tokens` as
        far as they were evaluated.
        """
        last: np.ndarray = self._evaluate(tokens, all_outputs=False, progress=progress)[-1]
        return last

    def evaluate_all(self, tokens: Sequence[int]) -> np.ndarray:
        """Append tokens; gives the logits after each, float32 (n_tokens, n_vocab)."""
        return self._evaluate(tokens, all_outputs=True, progress=None)

    def require_room(self, n: int) -> None:
        """Raise ContextFull when a sequence of `n` tokens is too long for the context."""
        if n > self.n_ctx:
            raise ContextFull(
                f"{n} tokens do not fit into a context of {self.n_ctx};"
                " make it larger with --ctx or the text shorter"
            )

    def rewind(self, n: int) -> None:
        """Keep the first `n` tokens and forget the rest."""
        if not 0 <= n <= len(self.tokens):
            raise ValueError(f"cannot rewind {len(self.tokens)} tokens to {n}")
        del self.tokens[n:]
        self.drawn = []
        self.n_saved = min(self.n_saved, n)

    def save(self, path: str | os.PathLike[str], extra: Mapping[str, Any] | None = None) -> None:
        """Write tokens, keys and values to a file, with `extra`, what else JSON can hold.

        `Model.restore_session` gives both back. In the file that it was last saved to or restored from
        only what is new is written. Whatever interrupts it, the file then holds the state before or the
        new one. Raises UserError when it cannot be written or is no session file.
        """
        from .session_file import save_session

        save_session(Path(path), self, extra or {})

    def _evaluate(
        self, tokens: Sequence[int], *, all_outputs: bool, progress: Evaluated | None
    ) -> np.ndarray:
        wanted = np.asarray(tokens, np.int64)
        self._check(wanted)
        n_vocab = self._engine.n_vocab
        logits = np.empty((len(wanted) if all_outputs else 1, n_vocab), np.float32)
        done, n_before = 0, len(self.tokens)
        self.drawn = []
        while done < len(wanted):
            batch = wanted[done : done + self._engine.max_tokens]
            done += len(batch)
            if all_outputs:
                outputs = logits[done - len(batch) : done]
            else:
                outputs = logits if done == len(wanted) else logits[:0]
            self._engine.run(batch, len(self.tokens), self.cache, outputs)
            self.tokens.extend(batch.tolist())
            if progress:
                progress(done, len(wanted))
        # Both are NaN where one of the logits is; faster than asking each.
        if not np.isfinite((logits.min(), logits.max())).all():
            self.rewind(n_before)
            raise NotFinite(
                f"{self.file.path}: the model's output is not finite (NaN or infinity among its logits);"
                f" the file is probably damaged: {GET_IT_AGAIN}"
            )
        return logits

    def _check(self, tokens: np.ndarray) -> None:
        if tokens.ndim != 1 or not tokens.size:
            raise ValueError("evaluate needs at least one token")
        if tokens.min() < 0 or tokens.max() >= self._engine.n_vocab:
            raise UserError(f"token ids must lie between 0 and {self._engine.n_vocab - 1}")
        self.require_room(len(self.tokens) + tokens.size)
