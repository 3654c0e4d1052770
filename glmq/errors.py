"""What can go wrong with a loaded model and its sessions. Each is a `UserError`: one line for the user."""

from __future__ import annotations

from glmq_kernels.errors import UserError


class ContextFull(UserError):
    """More tokens than the context has room for."""


class ModelClosed(UserError):
    """The model was closed before this was asked of it."""


class LoadedBeforeFork(UserError):
    """The model was loaded by the process of which this one is a copy, made by fork, without the threads."""


class NotFinite(UserError):
    """Logits that are NaN or infinite: the weights are damaged, or their numbers outgrow float32."""


class OutOfPages(UserError):
    """Other sequences have the memory for keys and values, and do not give it back."""


class SessionBusy(UserError):
    """The session is answering already, or is being evaluated, saved or rewound."""


class WrongSession(UserError):
    """The session, or the file that it was saved to, belongs to another model."""
