"""Where an answer evaluates its tokens: in the session that its caller gave, or in one of its own."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from .engine import Engine
from .gguf import GGUFFile
from .session import Session, User
from .tokenizer import Tokenizer

MOST_REMEMBERED = 64
"""Answers whose tokens are remembered."""

WAIT_SECONDS = 0.05
"""Waiting ends this often, so that handlers of signals can run."""


class AnswersUnderWay:
    """How many answers of a model have begun and not ended."""

    def __init__(self) -> None:
        self._n = 0
        self._changed = threading.Condition()

    def change(self, n: int) -> None:
        """Take note that so many more have begun."""
        with self._changed:
            self._n += n
            self._changed.notify_all()

    def wait_for_none(self) -> None:
        """Return when all have ended."""
        with self._changed:
            while self._n:
                self._changed.wait(WAIT_SECONDS)


class AnswerSession(Protocol):
    """A session for the time of an answer."""

    def take(self, user: User) -> Session:
        """The session, claimed for the answer. Raises SessionBusy."""

    def give_back(self, user: User) -> None:
        """Let the session go when the answer has ended."""


class GivenSession:
    """The session that the caller of an answer gave."""

    def __init__(self, session: Session, under_way: AnswersUnderWay) -> None:
        self._session, self._under_way = session, under_way

    def take(self, user: User) -> Session:
        """The session, claimed. Raises SessionBusy."""
        self._session.claim(user)
        self._under_way.change(1)
        return self._session

    def give_back(self, user: User) -> None:
        """Let others use it."""
        self._session.release(user)
        self._under_way.change(-1)


class OwnSession:
    """A session for one answer. What it has evaluated stays in the prefix tree while there is room."""

    def __init__(
        self,
        engine: Engine,
        file: GGUFFile,
        n_ctx: int,
        answers: RecentAnswers,
        under_way: AnswersUnderWay,
    ) -> None:
        self._engine, self._file, self._n_ctx = engine, file, n_ctx
        self._answers, self._under_way = answers, under_way
        self._session: Session | None = None

    def take(self, user: User) -> Session:
        """A new session, claimed."""
        self._session = session = Session(self._engine, self._file, self._n_ctx)
        session.claim(user)
        self._under_way.change(1)
        self._engine.scheduler.begin(session.sequence)
        return session

    def give_back(self, user: User) -> None:
        """Give the memory back, and remember the tokens."""
        session, self._session = self._session, None
        self._under_way.change(-1)
        if session is not None and self._engine.usable:
            self._answers.add([*session.tokens, *session.drawn])
            session.sequence.release()
            self._engine.scheduler.end(session.sequence)


class RecentAnswers:
    """Tokens of the last answers, prompts included, so that a conversation goes on with those drawn for it.

    The text of an answer may be encoded to other tokens than those that were drawn.
    """

    def __init__(self) -> None:
        self._answers: deque[tuple[list[int], list[str]]] = deque(maxlen=MOST_REMEMBERED)
        self._lock = threading.Lock()

    def add(self, tokens: list[int]) -> None:
        """Remember an answer."""
        with self._lock:
            self._answers.append((tokens, []))

    def closest(self, text: str, tokenizer: Tokenizer) -> Sequence[int]:
        """The tokens whose text shares most of its beginning with a prompt's; of several the newest."""
        best: Sequence[int] = ()
        most = 0
        with self._lock:
            answers = list(self._answers)
        for tokens, decoded in reversed(answers):
            if not decoded:
                decoded.append(tokenizer.decode(tokens))
            n = _n_shared(text, decoded[0])
            if n > most:
                best, most = tokens, n
        return best


def _n_shared(a: str, b: str) -> int:
    """How many leading characters two texts share."""
    lengths = range(1, min(len(a), len(b)) + 1)
    return bisect_left(lengths, True, key=lambda n: a[:n] != b[:n])
