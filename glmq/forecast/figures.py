"""The figures that say how fast a machine is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AttentionSpeed:
    """Seconds of a layer for each position that a token looks back at: of one token, of each of many."""

    one: float
    many: float


@dataclass(frozen=True)
class StepSpeed:
    """Seconds of a model's steps at the beginning of a context: of one token, of a batch."""

    one: float
    batch: float


@dataclass(frozen=True)
class MemorySpeed:
    """Bytes that all threads read from memory in a second."""

    bandwidth: float


@dataclass(frozen=True)
class DiskSpeed:
    """Bytes of experts that come from a disk in a second, past the system's file cache."""

    bandwidth: float
