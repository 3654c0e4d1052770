"""Sessions on disk: tokens, keys and values, and whatever JSON a program keeps with them.

A session file is a `commit_file` of these parts:

    text    JSON object of the program: messages and settings of a conversation
    state   JSON: a `SavedState`
    page    keys and values of some positions, as in the KV cache (see `saved_pages.py`)

The last page holds positions that are not in use yet. A session remembers the id of its last save and how
many tokens it has kept since. When the file still has this id, pages of these tokens stay where they are.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Generic, TypeVar

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists, cannot_be_written, replacing_open
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE

from .commit_file import MAGIC, Commit, Content, Save, read_commits, read_contents
from .errors import ContextFull, OutOfPages, WrongSession
from .saved_pages import page_to_write, read_pages
from .saved_state import Savable, SavedState, parse_object, parse_state
from .session_lock import SessionLock, duplicate

T = TypeVar("T")
S = TypeVar("S", bound=Savable)

PATIENCE = 10.0
"""Seconds that a save waits for another one to the same file."""

MOST_READS = 5
"""How often a file is read while others save to it."""

SPARE = 4
"""Units that a file may have beyond twice what it needs before it is written anew."""


@dataclass(frozen=True)
class Restored(Generic[S]):
    """A session out of a file, and the `extra` that was saved with it.

    reason: None, or one line that says why the session holds less than was saved.
    """

    session: S
    extra: dict[str, Any]
    reason: str | None


class SessionFile:
    """A session file that one conversation has for itself, from now on until `close`.

    Nobody else can save to it meanwhile. It is there from the start, empty, but goes when nothing is saved.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Wait `patience` seconds while it is in use.

        Raises GlmqError when it is then, when it cannot be written, and when it is something else.
        """
        self.path = path
        self._saves: set[Commit] = set()
        self._lock = SessionLock(path, patience)
        try:
            if not self.is_new:
                read_contents(self._lock.file, path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> SessionFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def is_new(self) -> bool:
        """Whether nothing was saved here yet."""
        return self._lock.size == 0

    def restore(self, session: S) -> Restored[S]:
        """Fill a new session (see `Model.restore_session`)."""
        restored = restore_session(self.path, session)
        self._saves |= session.saves
        return restored

    def save(self, session: Savable, extra: Mapping[str, Any], *, force: bool = False) -> None:
        """Write a session and `extra`, a JSON object (see `Session.save`).

        A state that this object restored or saved may be replaced by any session.
        """
        text = json.dumps(extra).encode()
        state = SavedState.of(session, uuid.uuid4().hex)
        try:
            if not self._lock.is_in_place():  # it was moved, deleted or replaced
                self._lock.close()
                self._lock = SessionLock(self.path, 0.0)
            last = self._last(session, force)
            if last is None or not self._save_in_place(last, session, text, state):
                self._save_anew(session, text, state)
        except OSError as error:
            raise cannot_be_written(self.path, error) from None
        session.saved_as, session.n_saved = state.id, len(state.tokens)

    def close(self) -> None:
        """Let others have the file."""
        self._lock.close()

    def _last(self, session: Savable, force: bool) -> Content | None:
        """What the file holds, None when nothing. Raises FileExists for what only force replaces."""
        if self.is_new:
            return None
        contents = read_contents(self._lock.file, self.path)
        known = session.saves | self._saves
        if force or (contents and contents[0].commit in known):
            return contents[0] if contents else None
        if not contents:
            raise FileExists(f"{self.path} is damaged; delete it or name another file")
        if any(content.commit in known for content in contents):
            what = "turns that another process has added meanwhile"
        else:
            what = "another conversation, or turns that another process has added meanwhile"
        raise FileExists(f"{self.path} holds {what}; name another file")

    def _save_in_place(self, last: Content, session: Savable, text: bytes, state: SavedState) -> bool:
        """Write what is new into the file.

        False when it does not hold this session's last save, or is several times as large as need be.
        """
        found = parse_state(last)
        shape, size = session.sequence.shape, self._lock.size
        if last.text is None or found is None or found.id != session.saved_as:
            return False
        if not found.is_current or found.cache != shape:
            return False
        page_bytes = shape.page_bytes
        needed = state.n_pages * page_bytes + len(text)
        if size > 2 * needed + SPARE * page_bytes and self._lock.n_names == 1:
            return False
        n_kept = session.n_saved // POSITIONS_PER_PAGE
        save = Save(self._lock.file, page_bytes, last, n_kept)
        try:
            self._write(save, n_kept, session, text, state)
        except OSError:
            with suppress(OSError):
                self._lock.file.truncate(size)
            raise
        return True

    def _save_anew(self, session: Savable, text: bytes, state: SavedState) -> None:
        """Write all into a new file that takes the place of the one that is there."""
        with replacing_open(self._lock.place(), private=True) as (_, file):
            self._write(Save(file, session.sequence.shape.page_bytes), 0, session, text, state)
            kept = duplicate(file)
            if kept is None:
                self._lock.close()
        self._lock.go_on_with(kept)

    def _write(self, save: Save, n_kept: int, session: Savable, text: bytes, state: SavedState) -> None:
        for number in range(n_kept, state.n_pages):
            save.add_page(page_to_write(session.sequence, number))
        commit = save.record(text, state.packed())
        session.saves.add(commit)  # before it is in the file, so that Ctrl-C cannot come between
        self._saves.add(commit)
        save.commit(commit)


def save_session(path: Path, session: Savable, extra: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a session and `extra`, a JSON object, to a file (see `Session.save`)."""
    with SessionFile(path, PATIENCE) as file:
        file.save(session, extra, force=force)


def read_extra(path: Path) -> dict[str, Any]:
    """The `extra` alone, which needs no model. Raises GlmqError when it cannot be read."""

    def read(file: FileIO) -> tuple[dict[str, Any], bool]:
        return _read(file, path)[0], True

    return _read_steadily(path, read)


def restore_session(path: Path, session: S) -> Restored[S]:
    """Fill a new session from a file (see `Model.restore_session`)."""

    def read(file: FileIO) -> tuple[Restored[S], bool]:
        restored = _restore(file, path, session)
        return restored, restored.reason is None

    return _read_steadily(path, read)


def is_session_file(path: Path) -> bool:
    """Whether a file begins as session files do."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _restore(file: FileIO, path: Path, session: S) -> Restored[S]:
    extra, content, contents = _read(file, path)
    state = parse_state(content)
    if state is not None and state.model != session.file.fingerprint:
        raise WrongSession(
            f"{path} was saved with another model, of the architecture {state.architecture};"
            " go on with that one, or name another file"
        )
    session.saves |= {each.commit for each in contents}
    misfit = state.misfit(session.sequence.shape) if state else "is damaged"
    if state is None or misfit:
        return Restored(session, extra, f"{path} {misfit}; everything is read again")
    n_tokens = len(state.tokens)
    if n_tokens > session.n_ctx:
        raise ContextFull(
            f"{path} holds {n_tokens} tokens, more than the context of {session.n_ctx}; choose a larger one",
            n_tokens=n_tokens,
            n_ctx=session.n_ctx,
            setting="n_ctx",
        )
    session.sequence.rewind(0)
    n_sound = read_pages(path, content, state, session.sequence)
    if session.deterministic:  # who knows how the file's pages came about
        session.sequence.keep_private()
    else:
        session.sequence.publish(exact=True)
    session.saved_as, session.n_saved = state.id, n_sound
    if n_sound < n_tokens:
        return Restored(session, extra, f"{path} is damaged after {n_sound} tokens; the rest is read again")
    session.drawn = state.drawn
    return Restored(session, extra, None)


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """A session file open for reading; GlmqError for what the system refuses."""
    try:
        if path.exists() and not path.is_file():
            raise GlmqError(f"{path} is not a file; name a session file")
        with open(path, "rb", buffering=0) as file:
            yield file
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None


def _read_steadily(path: Path, read: Callable[[FileIO], tuple[T, bool]]) -> T:
    """What is read of a file, and read again where damage is found while somebody saves to it.

    A save leaves alone what the last one needs, but two saves may overwrite what is being read.
    read: gives what it read and whether all of that is sound.
    """
    for left in reversed(range(MOST_READS)):
        with _opened(path) as file:
            before = read_commits(file)
            try:
                result, sound = read(file)
            except (WrongSession, ContextFull, OutOfPages):
                raise
            except GlmqError:
                if not left or _is_as_before(file, path, before):
                    raise
            else:
                if sound or not left or _is_as_before(file, path, before):
                    return result
    raise AssertionError("the last reading ends it")


def _is_as_before(file: FileIO, path: Path, commits: list[bytes]) -> bool:
    """Whether nobody has saved to the file, or put another one in its place."""
    return read_commits(file) == commits and os.path.samestat(os.stat(path), os.fstat(file.fileno()))


def _read(file: FileIO, path: Path) -> tuple[dict[str, Any], Content, list[Content]]:
    """The last `extra` that is sound, what was saved with it, and all that the file holds."""
    contents = read_contents(file, path)
    for content in contents:
        extra = parse_object(content.text)
        if extra is not None:
            return extra, content, contents
    raise GlmqError(f"{path} is damaged and nothing of it can be read; delete it or name another file")
