"""Sessions on disk: tokens, keys and values, and whatever JSON a program keeps with them.

A session file is a `commit_file` of these parts:

    text    JSON object of the program: messages and settings of a conversation
    state   JSON: {"id", "model", "architecture", "layout", "cache", "tokens", "drawn"}
    page    keys, then values, of 32 positions: of each layer and kv head, as in the KV cache

id: random, new with each save. model: the GGUF file's fingerprint. layout, cache: how keys and values lie
and their `CacheShape`. The last page holds positions that are not in use yet.

A session remembers the id of its last save and how many tokens it has kept since. When the file still
has this id, pages of these tokens stay where they are.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.cache_layout import CAPACITY_UNIT, LAYOUT
from glmq_kernels.errors import UserError
from glmq_kernels.team import usable_cores

from .commit_file import Content, Save, checksum, lock, read_at, read_contents
from .errors import ContextFull
from .kv_cache import CacheShape, KVCache
from .session import Session

MOST_READERS = 8
"""Threads that read pages; more do not make a disk faster."""


SPARE = 8
"""Units that a file may have beyond twice what it needs before it is written anew."""


@dataclass(frozen=True)
class Restored:
    """A session out of a file, and the `extra` that was saved with it.

    reason: None, or one line that says why the session holds less than was saved.
    """

    session: Session
    extra: dict[str, Any]
    reason: str | None


@dataclass(frozen=True)
class State:
    """What a file says of the session in it, apart from keys and values."""

    id: str
    model: str
    architecture: str
    layout: int
    cache: CacheShape
    tokens: list[int]
    drawn: list[int]


def save_session(path: Path, session: Session, extra: Mapping[str, Any]) -> None:
    """Write a session and `extra`, a JSON object, to a file (see `Session.save`)."""
    _refuse_devices(path)
    text = json.dumps(extra).encode()
    state = State(
        uuid.uuid4().hex,
        session.file.fingerprint,
        session.file.text("general.architecture"),
        LAYOUT,
        session.cache.shape,
        session.tokens,
        session.drawn,
    )
    try:
        if not _save_in_place(path, session, text, state):
            _save_anew(path, session, text, state)
    except OSError as error:
        raise UserError(f"{path} cannot be saved: {error.strerror}") from None
    session.saved_as, session.n_saved = state.id, len(session.tokens)


def read_extra(path: Path) -> dict[str, Any]:
    """The `extra` alone, which needs no model. Raises UserError when it cannot be read."""
    with _opened(path) as file:
        return _read(file, path)[0]


def restore_session(path: Path, session: Session) -> Restored:
    """Fill a new session from a file (see `Model.restore_session`)."""
    with _opened(path) as file:
        extra, content = _read(file, path)
        state = _parse_state(content)
        misfit = _misfit(state, session)
        if state is None or misfit:
            return Restored(session, extra, f"{path} {misfit}; everything is read again")
        n_tokens = len(state.tokens)
        if n_tokens > session.n_ctx:
            raise ContextFull(
                f"{path} holds {n_tokens} tokens, more than the context of {session.n_ctx};"
                f" choose a --ctx above {n_tokens}"
            )
        n_sound = min(_read_pages(path, content, session.cache, _pages(n_tokens)) * CAPACITY_UNIT, n_tokens)
    session.tokens, session.saved_as, session.n_saved = state.tokens[:n_sound], state.id, n_sound
    if n_sound < n_tokens:
        return Restored(session, extra, f"{path} is damaged after {n_sound} tokens; the rest is read again")
    session.drawn = state.drawn
    return Restored(session, extra, None)


def _save_in_place(path: Path, session: Session, text: bytes, state: State) -> bool:
    """Write what is new into the file.

    False when it does not hold this session's last save, or is several times as large as need be.
    """
    if not path.exists() or path.stat().st_size == 0:
        return False
    page_bytes = _page_bytes(session.cache)
    needed = _pages(len(session.tokens)) * page_bytes + len(text)
    with open(path, "r+b", buffering=0) as file:
        lock(file)
        contents = read_contents(file, path)
        last = _parse_state(contents[0]) if contents and contents[0].text is not None else None
        if last is None or last.id != session.saved_as:
            return False
        if path.stat().st_size > 2 * needed + SPARE * page_bytes:
            return False
        n_kept = session.n_saved // CAPACITY_UNIT
        _write(Save(file, page_bytes, contents[0], n_kept), n_kept, session, text, state)
    return True


def _save_anew(path: Path, session: Session, text: bytes, state: State) -> None:
    unfinished = path.with_name(f".{path.name}.{state.id}")
    try:
        with open(unfinished, "w+b", buffering=0) as file:
            _write(Save(file, _page_bytes(session.cache)), 0, session, text, state)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _write(save: Save, n_kept: int, session: Session, text: bytes, state: State) -> None:
    halves = session.cache.pages()
    buffer = _page_buffer(session.cache)
    for page in range(n_kept, _pages(len(session.tokens))):
        for part, half in zip(buffer, halves, strict=True):
            part[:] = half[:, page]
        save.add_page(buffer.data)
    save.commit(text, json.dumps(vars(state) | {"cache": vars(state.cache)}).encode())


def _read_pages(path: Path, content: Content, cache: KVCache, n_pages: int) -> int:
    """Read the first pages into a cache; gives how many are sound before the first that is not."""
    pages = content.pages[:n_pages]
    n_readers = min(usable_cores(), MOST_READERS)
    keys, values = cache.pages()

    def read_from(first: int) -> int:
        """Every n_readers-th page; gives the first that is not sound."""
        buffer = _page_buffer(cache)
        with open(path, "rb", buffering=0) as file:
            for page in range(first, len(pages), n_readers):
                unit, expected = pages[page]
                read = read_at(file, content.commit.position(unit), buffer.data)
                if not read or checksum(buffer.data) != expected:
                    return page
                keys[:, page], values[:, page] = buffer
        return len(pages)

    with ThreadPoolExecutor(n_readers) as pool:
        return min(pool.map(read_from, range(n_readers)))


def _refuse_devices(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file; name a session file")


@contextmanager
def _opened(path: Path) -> Iterator[FileIO]:
    """A session file open for reading; UserError for what the system refuses."""
    _refuse_devices(path)
    try:
        with open(path, "rb", buffering=0) as file:
            lock(file)
            yield file
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _read(file: FileIO, path: Path) -> tuple[dict[str, Any], Content]:
    """The last `extra` that is sound, and what was saved with it."""
    for content in read_contents(file, path):
        extra = _parse(content.text)
        if extra is not None:
            return extra, content
    raise UserError(f"{path} is damaged and nothing of it can be read; delete it or name another file")


def _parse(text: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(text or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse_state(content: Content) -> State | None:
    """The state that was saved; None when it is damaged."""
    fields = _parse(content.state)
    try:
        return State(**fields | {"cache": CacheShape(**fields["cache"])}) if fields else None
    except (KeyError, TypeError):
        return None


def _pages(n_tokens: int) -> int:
    return -(-n_tokens // CAPACITY_UNIT)


def _page_bytes(cache: KVCache) -> int:
    return cache.shape.n_bytes(CAPACITY_UNIT)


def _page_buffer(cache: KVCache) -> np.ndarray:
    """Room for a page: uint8 (2, n_layers * n_kv_heads, bytes of 32 positions)."""
    return np.empty(_page_bytes(cache), np.uint8).reshape(
        2, cache.shape.n_layers * cache.shape.n_kv_heads, -1
    )


def _misfit(state: State | None, session: Session) -> str | None:
    """Why keys and values of a file cannot be used in a session."""
    if state is None:
        return "is damaged"
    if state.layout != LAYOUT:
        return "was saved by another version of glmq"
    if state.model != session.file.fingerprint:
        return f"was saved with another model, of the architecture {state.architecture}"
    if state.cache.type != session.cache.shape.type:
        return f"was saved with a KV cache of type {state.cache.type}, not {session.cache.shape.type}"
    return None
