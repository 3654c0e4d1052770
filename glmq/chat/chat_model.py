"""What a conversation asks of its model. `glmq.Model` is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..gguf import GGUFFile
from ..session import Evaluated, Session
from ..tokenizer import Tokenizer
from .answer import Answer
from .options import ChatOptions
from .template import ChatTemplate


class ChatModel(Protocol):
    """A model that answers conversations."""

    @property
    def file(self) -> GGUFFile:
        """The file that it was loaded from."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def chat_template(self) -> ChatTemplate:
        """Its chat template."""

    def session(self) -> Session:
        """A new session."""

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        options: ChatOptions | None,
        session: Session | None,
        progress: Evaluated | None,
    ) -> Answer:
        """The next message of a conversation (see `Model.chat`)."""
