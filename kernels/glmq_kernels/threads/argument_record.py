"""What a kernel on a tape is told: a record of 64-bit integers and floats, declared once for both sides.

An operation declares its record as a class, and its builder fills it by names, in small letters, through
`Tape.add`. Its kernel reads the same names, as `argument(args, RmsNorm.SOURCE)`.

    0   address of the state of the tape's run (`ops/batch_state.py`)
    1   address of the counters of chunks of work that threads have taken in this run (`work_units.py`)
    2   how many nodes of memory the threads are on, each of which has a counter
    3.. the members of the class, in their order
    then, where the operation has several of something, a part for each, with names of its own from 0 on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from ..jit.call_record import CallRecord, in_order

STATE = 0
TAKEN = 1
N_NODES = 2
FIRST = 3

COUNTER_BYTES = 64
"""From a counter to the next: a cache line, for which threads fight as a whole."""

UNLESS_ONE = 2
"""What an operation says of the barrier after it: 0 none, 1 one, and from here on: one unless that entry of
the state, counted from here, is 1."""


class ArgumentRecord(IntEnum):
    """Base of records. Members are declared with `auto()`."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> int:
        return FIRST + count


class ArgumentPart(CallRecord):
    """Base of the parts behind a record."""


def record_size(record: type[ArgumentRecord]) -> int:
    """Entries of a record, and so where its parts begin."""
    return FIRST + len(record)


def with_parts(
    record: type[ArgumentRecord],
    fields: Mapping[str, object],
    parts: tuple[type[ArgumentPart], Sequence[Mapping[str, object]]] | None,
) -> list[object]:
    """A record's values behind `N_NODES`, and those of its parts."""
    values = in_order(record, fields)
    if parts is not None:
        kind, each_fields = parts
        for each in each_fields:
            values += in_order(kind, each)
    return values
