"""The requests that wait, and what of them is evaluated next. Runs nothing and waits for nothing itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from queue import SimpleQueue
from weakref import WeakKeyDictionary, WeakSet

from ..errors import ContextFull, OutOfPages
from .request import Beside, Cancelled, Chunk, PagedSequence, Progress, Reply, Request
from .step_costs import StepCosts
from .step_plan import plan_step

GRACE_SHARE = 0.25
"""Of a step's time, how long the next one waits for sequences that were in it and draw their next token."""

PATIENCE = 5.0
"""Seconds that a request waits for memory while answers that might give some back are at rest."""

LOOKS_EVERY = 0.2
"""Seconds between two looks at whether those who wait for memory have been cancelled."""

DECODES_FOR = 2.0
"""Seconds after a token for which a sequence counts as decoding."""

WEIGHT = 0.3
"""Of the newest measurement, in the running mean of the time that a sequence is away."""


@dataclass(frozen=True)
class Step:
    """What is evaluated together: the chunks, those of the row form first.

    seconds: how long that will take, None where nobody knows yet.
    """

    chunks: list[Chunk]
    seconds: float | None

    @property
    def n_decode(self) -> int:
        """Tokens of requests that decode."""
        return sum(chunk.n_tokens for chunk in self.chunks if chunk.request.decodes)

    @property
    def n_prompt(self) -> int:
        """Tokens of prompts."""
        return sum(chunk.n_tokens for chunk in self.chunks if not chunk.request.decodes)


@dataclass
class _Away:
    """A sequence whose caller has its results and will probably come back: since when, until when to wait."""

    since: float
    deadline: float


class StepQueue:
    """Requests in their turns. `now` is in seconds of any clock that does not go back.

    max_tokens: of a step. deterministic: whether prompts take the row form too.
    """

    def __init__(self, max_tokens: int, *, deterministic: bool = False) -> None:
        self.costs = StepCosts()
        self.max_tokens, self._deterministic = max_tokens, deterministic
        self._arrived: list[Request] = []
        self._decoding: list[Request] = []
        self._prompts: list[Request] = []
        self._away: WeakKeyDictionary[PagedSequence, _Away] = WeakKeyDictionary()
        self._seconds_away: WeakKeyDictionary[PagedSequence, float] = WeakKeyDictionary()
        self._decoded_at: WeakKeyDictionary[PagedSequence, float] = WeakKeyDictionary()
        self._answering: WeakSet[PagedSequence] = WeakSet()
        self._changed_at = 0.0
        self._grace = 0.0

    @property
    def n_requests(self) -> int:
        """Requests that are here."""
        return len(self._all())

    def begin(self, sequence: PagedSequence) -> None:
        """Take note that a sequence belongs to one answer, and gives its pages back after that."""
        self._answering.add(sequence)

    def end(self, sequence: PagedSequence, now: float) -> None:
        """Take note that a sequence has given its pages back and will not come again."""
        self._answering.discard(sequence)
        self._away.pop(sequence, None)
        self._decoded_at.pop(sequence, None)
        self._changed_at = now

    def submit(self, request: Request, now: float) -> None:
        """Put a request in, for the first time or with its next part."""
        self.came_back(request.sequence, now)
        if not request.admitted:
            self._arrived.append(request)
        else:
            (self._decoding if request.decodes else self._prompts).append(request)

    def came_back(self, sequence: PagedSequence, now: float) -> None:
        """Take note that something more is wanted for a sequence."""
        away = self._away.pop(sequence, None)
        if away is not None:
            seconds = now - away.since
            known = self._seconds_away.get(sequence, seconds)
            self._seconds_away[sequence] = known + WEIGHT * (min(seconds, 2 * known) - known)

    def expect_again(self, sequence: PagedSequence, now: float) -> None:
        """Wait a while for a sequence that has had something else done than a step, as after that."""
        quick = self._seconds_away.get(sequence, 0.0) <= self._grace
        self._away[sequence] = _Away(now, now + self._grace if quick else now)

    def remove(self, request: Request, reply: BaseException) -> None:
        """Take a request out, if it is here, and tell its caller why."""
        for queue in (self._arrived, self._decoding, self._prompts):
            if request in queue:
                queue.remove(request)
        request.replies.put(reply)

    def remove_all(self, reply: BaseException) -> None:
        """Take all requests out."""
        for request in self._all():
            self.remove(request, reply)

    def remove_ended(self, running: Collection[object] = ()) -> None:
        """Take out those that nobody wants any more, but for those that are being evaluated."""
        for request in self._all():
            if request.ended and request not in running:
                self.remove(request, Cancelled())

    def next(self, now: float) -> Step | float | None:
        """The next step; or until when to wait for more; None where nothing can be done before that."""
        self.remove_ended()
        self._admit()
        if not self._decoding and not self._prompts:
            return self._refuse(now) if self._arrived else None
        waits_until = max((away.deadline for away in self._away.values()), default=now)
        if waits_until > now:
            return waits_until
        chunks = plan_step(
            self._decoding,
            self._prompts,
            self.costs,
            self.max_tokens,
            keep_short=self._others_decode(now),
            deterministic=self._deterministic,
        )
        step = Step(chunks, None)
        return Step(chunks, self.costs.estimate(step.n_decode, step.n_prompt))

    def finish(self, step: Step, began: float, now: float) -> list[tuple[SimpleQueue[Reply], Reply]]:
        """Take note that a step was evaluated: sequences grow. Gives what callers are to hear of it."""
        self._changed_at = now
        self.costs.observe(step.n_decode, step.n_prompt, now - began)
        replies: list[tuple[SimpleQueue[Reply], Reply]] = []
        progress = sum(_progress(chunk) for chunk in step.chunks if chunk.request.decodes)
        for chunk in step.chunks:
            request = chunk.request
            request.sequence.extend(chunk.tokens[: chunk.n_tokens - request.n_draft].tolist())
            request.n_done += chunk.n_tokens
            if request.decodes:
                request.beside = Beside(step.n_decode - chunk.n_tokens, max(0.0, progress - _progress(chunk)))
            if request.n_left and not request.hands_back:
                if request in self._prompts:  # its turn comes after the others'
                    self._prompts.remove(request)
                    self._prompts.append(request)
                continue
            (self._decoding if request.decodes else self._prompts).remove(request)
            self._expect(request, now - began, now)
            replies.append((request.replies, Progress(request.n_done) if request.n_left else None))
        return replies

    def _all(self) -> list[Request]:
        return [*self._arrived, *self._decoding, *self._prompts]

    def _admit(self) -> None:
        """Take memory for requests that have arrived. Where a prompt waits, later prompts wait too."""
        waiting, prompt_waits = [], False
        for request in self._arrived:
            if prompt_waits and not request.decodes:
                waiting.append(request)
                continue
            try:
                request.reserve()
            except OutOfPages:
                waiting.append(request)
                prompt_waits = prompt_waits or not request.decodes
            except ContextFull as error:
                request.replies.put(error)
            else:
                request.admitted = True
                (self._decoding if request.decodes else self._prompts).append(request)
        self._arrived = waiting

    def _refuse(self, now: float) -> float | None:
        """Where everybody waits for memory: until when somebody may give some back, else refuse the last."""
        blocked = {request.sequence for request in self._arrived}
        others_answer = any(sequence not in blocked for sequence in self._answering)
        if others_answer and now < self._changed_at + PATIENCE:
            return min(now + LOOKS_EVERY, self._changed_at + PATIENCE)
        last = self._arrived[-1]
        self._changed_at = now
        self.remove(
            last,
            OutOfPages(
                f"{len(last.sequence.tokens) + len(last.tokens)} tokens need more memory for keys and values"
                " than other sequences and programs leave; end some of those, or give the model more",
                setting="ram",
            ),
        )
        return now if self._arrived else None

    def _expect(self, request: Request, seconds: float, now: float) -> None:
        """Wait a while for the sequence's next tokens, if it has been quick enough before."""
        sequence = request.sequence
        if not request.n_left and (request.decodes or sequence in self._answering):
            self._decoded_at[sequence] = now
        self._grace = GRACE_SHARE * seconds
        self.expect_again(sequence, now)

    def _others_decode(self, now: float) -> bool:
        """Whether sequences decode other than those whose prompts are being read."""
        if self._decoding:
            return True
        reading = [request.sequence for request in self._prompts]
        return any(
            now < at + DECODES_FOR for sequence, at in self._decoded_at.items() if sequence not in reading
        )


def _progress(chunk: Chunk) -> float:
    """By how many tokens a sequence that decodes probably grows by a step."""
    return chunk.n_tokens - chunk.request.n_draft + chunk.request.promised
