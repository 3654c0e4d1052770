"""What can go wrong with a loaded model and its sessions. Each is a `GlmqError`: one line for the user."""

from __future__ import annotations

from glmq_kernels.errors import GlmqError


class ContextFull(GlmqError):
    """More tokens than the context, or the memory for one, has room for: n_tokens, and n_ctx at most."""

    def __init__(
        self, message: str = "", *, n_tokens: int = 0, n_ctx: int = 0, setting: str | None = None
    ) -> None:
        super().__init__(message, setting=setting)
        self.n_tokens, self.n_ctx = n_tokens, n_ctx


class ModelClosed(GlmqError):
    """The model was closed before this was asked of it."""


class LoadedBeforeFork(GlmqError):
    """The model was loaded by the process of which this one is a copy, made by fork, without the threads."""


class NotFinite(GlmqError):
    """Logits that are NaN or infinite: the weights are damaged, or their numbers outgrow float32."""


class OutOfPages(GlmqError):
    """Other sequences have the memory for keys and values, and do not give it back."""


class SessionBusy(GlmqError):
    """The session is answering already, or is being evaluated, saved or rewound."""


class WrongSession(GlmqError):
    """The session, or the file that it was saved to, belongs to another model."""
