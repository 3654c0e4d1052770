"""The figures that say how fast a machine is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProductSpeed:
    """Seconds of all threads for each weight of a matrix that meets one, `FEW` or `MANY` tokens."""

    one: float
    few: float
    many: float


@dataclass(frozen=True)
class AttentionSpeed:
    """Seconds of a layer for each position that a token looks back at: of one token, of each of many."""

    one: float
    many: float


@dataclass(frozen=True)
class StepSpeed:
    """Seconds that are no product: of an operation, of a number that it works on, and of a step."""

    operation: float
    number: float
    step: float


@dataclass(frozen=True)
class MemorySpeed:
    """Bytes that all threads read from memory in a second."""

    bandwidth: float


@dataclass(frozen=True)
class DiskSpeed:
    """Bytes of experts that come from a disk in a second, past the system's file cache."""

    bandwidth: float
