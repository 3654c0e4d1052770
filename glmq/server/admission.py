"""Who may be answered now and who waits: slots for answers, and a queue before them. Of one event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .api_error import ApiError, BadRequest

RETRY_SECONDS = 2
"""After which a request that found no room may be sent again."""


class Ticket:
    """A place in the queue, and then a slot. number: of the slot."""

    def __init__(self, begin: Callable[[Ticket], None]) -> None:
        self.number: int | None = None
        self._begin = begin

    def take(self, number: int) -> None:
        """Have a slot from now on."""
        self.number = number
        self._begin(self)


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
        """Raise ApiError where `n` further answers are too many: 429 for now, 400 for ever."""
        most = self.n_slots + self._n_queue
        if n > most:
            raise BadRequest(f"the request asks for {n} answers; at most {most} are given at once")
        if n > most - self.n_busy - self.n_waiting:
            told = f"{self.n_busy} answers are being generated and {self.n_waiting} wait; try again later"
            raise ApiError(429, told, code="queue_full", retry_after=RETRY_SECONDS)

    def enter(self, begin: Callable[[Ticket], None]) -> Ticket:
        """Take a slot, now or when it is its turn, and call `begin` then. Give it back with `leave`."""
        ticket = Ticket(begin)
        if self._free:
            ticket.take(self._free.pop(0))
        else:
            self._queue.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a ticket back; the next one in the queue gets its slot."""
        if ticket.number is None:
            if ticket in self._queue:
                self._queue.remove(ticket)
            return
        number, ticket.number = ticket.number, None
        if self._queue:
            self._queue.popleft().take(number)
        else:
            self._free.append(number)
            self._free.sort()
