"""Who may be answered now and who waits: slots for answers, and a queue before them. Of one event loop."""

from __future__ import annotations

import asyncio
from collections import deque

from .api_error import ApiError


class Ticket:
    """A place in the queue, and then a slot. number: of the slot."""

    def __init__(self, number: int | None) -> None:
        self.number = number
        self.ready = asyncio.Event()
        if number is not None:
            self.ready.set()


class Admission:
    """n_slots: answers at once. n_queue: answers that may wait."""

    def __init__(self, n_slots: int, n_queue: int) -> None:
        self.n_slots, self._n_queue = n_slots, n_queue
        self._free = list(range(n_slots))
        self._queue: deque[Ticket] = deque()

    @property
    def n_busy(self) -> int:
        """Slots in use."""
        return self.n_slots - len(self._free)

    @property
    def n_waiting(self) -> int:
        """Answers that wait."""
        return len(self._queue)

    @property
    def busy(self) -> list[int]:
        """Numbers of the slots in use."""
        return [number for number in range(self.n_slots) if number not in self._free]

    def require_room(self, n: int) -> None:
        """Raise ApiError 429 when `n` further answers are too many."""
        if n > len(self._free) + self._n_queue - len(self._queue):
            raise ApiError(
                429,
                f"{self.n_waiting} answers wait already; try again later",
                code="queue_full",
                retry_after=2,
            )

    def enter(self) -> Ticket:
        """Take a slot, or a place in the queue. Give it back with `leave`."""
        if self._free:
            return Ticket(self._free.pop(0))
        ticket = Ticket(None)
        self._queue.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a ticket back, once; the next one in the queue gets its slot."""
        if ticket in self._queue:
            self._queue.remove(ticket)
        if ticket.number is None:
            return
        number, ticket.number = ticket.number, None
        if self._queue:
            following = self._queue.popleft()
            following.number = number
            following.ready.set()
        else:
            self._free.append(number)
            self._free.sort()
