"""How a conversation is kept in files: with the model's state, or its messages alone."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError

from ..session import Session
from ..session_file import Restored, SessionFile, is_session_file, restore_session
from .chat_model import ChatModel
from .conversation import Conversation
from .conversation_files import export_conversation, load_conversation, save_conversation
from .messages import check_messages


class SavedChat(ABC):
    """The part of a `ChatSession` that saves and loads.

    kept: the session file that `save` writes to. reason: why less of the model's state was loaded than had
    been saved, if so.
    """

    model: ChatModel
    conversation: Conversation
    kept: SessionFile | None = None
    reason: str | None = None
    _session: Session

    @abstractmethod
    def _changing(self) -> AbstractContextManager[None]:
        """For the time of a change, which no turn may meet. Raises SessionBusy."""

    def save(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> None:
        """Write messages and the model's state to a session file, by default to the one that is kept.

        In a file that this conversation was saved to before only what is new is written. Raises FileExists
        where only `force` does it, GlmqError when it is not possible (see `Session.save`).
        """
        with self._changing():
            if path is not None:
                self._session.save(path, self._extra(), force=force)
            elif self.kept is not None:
                self.kept.save(self._session, self._extra(), force=force)
            else:
                raise GlmqError("no session file is kept; name the file to save to")

    def keep_in(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Save to a session file now and whenever `save` names no other; nobody else can use it meanwhile.

        Raises what `save` raises; nothing changes then.
        """
        kept = SessionFile(Path(path))
        try:
            with self._changing():
                kept.save(self._session, self._extra(), force=force)
        except BaseException:
            kept.close()
            raise
        if self.kept is not None:
            self.kept.close()
        self.kept = kept

    def go_on_in(self, file: SessionFile) -> None:
        """Go on with what a session file holds, if anything, and keep it; `close` closes it.

        A system message that the conversation has stays. Raises GlmqError, WrongSession when it was saved
        with another model; nothing changes then.
        """
        if not file.is_new:
            self._take_up(file.restore(self.model.session()), file.path)
        self.kept = file

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on with a saved conversation: that of a session file with the model's state, or of JSON.

        A system message that the conversation has stays. Raises GlmqError, WrongSession when it was saved
        with another model (`load_messages` reads the messages alone); nothing changes then.
        """
        path = Path(path)
        if path.is_file() and is_session_file(path):
            self._take_up(restore_session(path, self.model.session()), path)
        else:
            self.load_messages(path)

    def load_messages(self, path: str | os.PathLike[str]) -> None:
        """Go on with the messages of a file: JSON, or a session file of any model. Raises GlmqError."""
        messages = load_conversation(Path(path)).messages
        with self._changing():
            self.conversation.messages = messages

    def save_messages(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the messages alone, as JSON (see `save_conversation`)."""
        save_conversation(self.conversation, Path(path), force=force)

    def export(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the conversation for others: Markdown, or OpenAI's JSON (see `export_conversation`)."""
        export_conversation(self.conversation, Path(path), force=force)

    def _take_up(self, restored: Restored[Session], path: Path) -> None:
        try:
            messages = check_messages(restored.extra.get("messages"))
        except GlmqError as error:
            raise GlmqError(f"{path} holds no conversation: {error}") from None
        with self._changing():
            system = self.conversation.system
            self.conversation.messages = messages
            if system:
                self.conversation.set_system(system)
            self._session, self.reason = restored.session, restored.reason

    def _extra(self) -> dict[str, Any]:
        """What a session file holds beside the model's state."""
        return {"messages": self.conversation.messages}
