"""What a kernel that is called on its own is told: a record of 64-bit integers and floats, by names.

The record is declared once, as a class. The caller fills it by names, in small letters, through
`store.packed`, and the kernel reads the same names, as `argument(args, PoolCall.SHARED)`. Kernels on a tape
have records with a beginning in common (`threads/argument_record.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, TypeVar

Value = TypeVar("Value")


class CallRecord(IntEnum):
    """Base of records. Members are declared with `auto()`."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> int:
        return count


def in_order(record: type[IntEnum], fields: Mapping[str, Value]) -> list[Value]:
    """Values in the order of their names. Raises TypeError when one is missing or unknown."""
    names = [member.name.lower() for member in record]
    if fields.keys() != set(names):
        wrong = fields.keys() ^ set(names)
        raise TypeError(f"{record.__name__} is given wrong names: {', '.join(sorted(wrong))}")
    return [fields[name] for name in names]
