"""Experts on their way from the disk to slots of the slab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glmq_kernels.disk_reads.disk_reader import DiskReader, Part, Request, check
from glmq_kernels.disk_reads.reader_state import DROPPED, PENDING
from glmq_kernels.errors import GlmqError

from .expert_cache import Expert, ExpertCache
from .expert_layer import ExpertLayer
from .slab import Slab

TRIES = 3
"""Times that a part is read before its failure is final."""


@dataclass
class Fetch:
    """An expert on its way into a slot.

    staged: the slot is not the cache's, the expert only passes through. prefetched: nobody has asked for the
    expert yet. tries: of each part so far.
    """

    layer: ExpertLayer
    expert: Expert
    slot: int
    requests: list[Request]
    tries: list[int]
    staged: bool
    prefetched: bool


class Fetching:
    """What is on its way, and the slots that do not belong to the cache.

    pending: experts that were asked for. passing: slots of those that have come but are not to stay.
    What is in which slot is noted in an order that lets `settle` put everything right wherever an interrupt
    has struck.
    """

    def __init__(self, reader: DiskReader, slab: Slab, cache: ExpertCache) -> None:
        self.pending: dict[Expert, Fetch] = {}
        self.passing: dict[Expert, int] = {}
        self.bytes_read = 0
        self._reader, self._slab, self._cache = reader, slab, cache
        reader.keep(slab.memory)
        self._abandoned: list[Fetch] = []
        self._whole: list[Expert | None] = [None] * slab.n_slots
        self._staging = self._not_cached()
        self.n_staging = len(self._staging)

    def _not_cached(self) -> list[int]:
        return sorted(set(range(self._slab.n_slots)) - self._cache.slots())

    @property
    def n_spare(self) -> int:
        """Slots for experts that are not to stay."""
        return len(self._staging)

    def begin(
        self,
        layer: ExpertLayer,
        expert: Expert,
        slot: int | None,
        *,
        idle: bool = False,
        prefetched: bool = False,
    ) -> Fetch:
        """Ask for an expert, in a slot of the cache or (None) in one through which it passes."""
        staged = slot is None
        if slot is None:
            slot = self._take_staging()
        self._whole[slot] = None
        requests = self._reader.post(self._slab.parts(layer, expert[1], slot), idle=idle)
        fetch = Fetch(layer, expert, slot, requests, [1] * len(requests), staged, prefetched)
        self.pending[expert] = fetch
        return fetch

    def _take_staging(self) -> int:
        while not self._staging:
            seen = self._reader.n_finished
            self._reap()
            if not self._staging:
                self._reader.wait(seen)
        return self._staging.pop()

    def keep(self, fetch: Fetch, wanted: Sequence[Expert]) -> None:
        """Let an expert that was only to pass through stay, if anything but `wanted` can go for it."""
        instead = self._cache.exchange(fetch.expert, fetch.slot, wanted)
        if instead is not None:
            fetch.staged = False
            self._staging.append(instead)

    def keep_instead(self, victim: Expert, expert: Expert) -> None:
        """Let an expert that passes through stay, and another one of its layer go."""
        self._cache.forget(victim)
        instead = self._cache.exchange(expert, self.passing.pop(expert))
        assert instead is not None, "a slot has just become free"
        self._staging.append(instead)

    def is_there(self, fetch: Fetch) -> bool:
        """Whether an expert has come. Parts that failed or were dropped are asked for again.

        Raises GlmqError when a part has failed too often.
        """
        results = [self._reader.result(request) for request in fetch.requests]
        for i, result in enumerate(results):
            request = fetch.requests[i]
            if result == PENDING or result == request.part.n_bytes:
                continue
            if result != DROPPED:
                fetch.tries[i] += 1
                if fetch.tries[i] > TRIES:
                    raise failure(request, result)
            self._reader.release(request)
            room = self._slab.parts(fetch.layer, fetch.expert[1], fetch.slot)[i]
            (fetch.requests[i],) = self._reader.post([room])
            results[i] = PENDING
        return PENDING not in results

    def arrive(self, fetch: Fetch) -> None:
        """Tell the kernels where an expert that is there lies."""
        self._enter(fetch)
        if fetch.staged:
            self.passing[fetch.expert] = fetch.slot
        self._release(fetch)
        del self.pending[fetch.expert]

    def _enter(self, fetch: Fetch) -> None:
        _, expert = fetch.expert
        fetch.layer.experts.table[expert] = [request.address for request in fetch.requests]
        self._whole[fetch.slot] = fetch.expert

    def _release(self, fetch: Fetch) -> None:
        for request in fetch.requests:
            self.bytes_read += max(0, self._reader.result(request))
            self._reader.release(request)

    def abandon(self, fetch: Fetch) -> None:
        """Let a prefetched expert go that nobody wants, as soon as it is not being read any more."""
        self._abandoned.append(self.pending.pop(fetch.expert))
        self._reap()

    def abandon_others(self, wanted: Sequence[Expert]) -> None:
        """Let everything go that is on its way but `wanted`."""
        for expert in self.pending.keys() - set(wanted):
            self.abandon(self.pending[expert])

    def _reap(self) -> None:
        for fetch in list(self._abandoned):
            if all(self._reader.result(request) != PENDING for request in fetch.requests):
                self._abandoned.remove(fetch)
                self._release(fetch)
                self._staging.append(fetch.slot)

    def free_passing(self) -> None:
        """Give up the experts that have passed through."""
        self._staging += self.passing.values()
        self.passing.clear()

    def drop_idle(self) -> None:
        """Take back what is wanted only in idle time and has not been begun."""
        self._reader.drop_idle()

    @property
    def n_finished(self) -> int:
        """Parts that have come so far, for `wait`."""
        return self._reader.n_finished

    def wait(self, n_finished: int) -> None:
        """Sleep until `n_finished` is another number."""
        self._reader.wait(n_finished)

    def settle(self) -> None:
        """Have nothing on its way: wait for what is being read, forget what has not been begun or failed."""
        self._reader.drain()
        for fetch in self.pending.values():
            results = [self._reader.result(request) for request in fetch.requests]
            self.bytes_read += sum(max(0, result) for result in results)
            if results == [request.part.n_bytes for request in fetch.requests]:
                self._enter(fetch)
        for expert, slot in self._cache.held():
            if self._whole[slot] != expert:
                self._cache.forget(expert)
        self.pending, self.passing, self._abandoned = {}, {}, []
        self._staging = self._not_cached()


def failure(request: Request, result: int) -> GlmqError:
    """What to tell about a part that could not be read."""
    try:
        check(request, result)
    except OSError as error:
        reason = error.strerror
    return GlmqError(
        f"{request.part.file.path} cannot be read at byte {request.part.offset}: {reason};"
        " check the disk and that the file is complete"
    )


def read_now(reader: DiskReader, parts: Sequence[tuple[Part, int]]) -> None:
    """Read parts and wait for them. Raises GlmqError when one has failed too often."""
    for _ in range(TRIES):
        asked = reader.post(parts)
        for request in asked:
            reader.await_result(request)
        results = [reader.result(request) for request in asked]
        for request in asked:
            reader.release(request)
        failed = [i for i, request in enumerate(asked) if results[i] != request.part.n_bytes]
        if not failed:
            return
        parts = [parts[i] for i in failed]
    raise failure(asked[failed[0]], results[failed[0]])
