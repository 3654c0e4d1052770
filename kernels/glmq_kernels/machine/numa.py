"""The machine's nodes of memory, each near to some of its processors, as Linux tells of them.

Only nodes with both memory and processors count, of the latter those that this process may use.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .cores import ROOT


@dataclass(frozen=True)
class MemoryNode:
    """A node of memory and the logical processors near it."""

    number: int
    processors: frozenset[int]


def memory_nodes(allowed: Collection[int] | None = None, root: Path = ROOT) -> list[MemoryNode]:
    """The nodes, in order of their numbers; none where the system tells of none.

    allowed: logical processors that this process may use, by default what the system says.
    """
    if sys.platform != "linux":
        return []
    if allowed is None:
        allowed = os.sched_getaffinity(0)
    folder = root / "sys/devices/system/node"
    with_memory = _numbers(folder / "has_memory")
    nodes = (MemoryNode(n, _numbers(folder / f"node{n}/cpulist") & frozenset(allowed)) for n in with_memory)
    return [node for node in sorted(nodes, key=lambda node: node.number) if node.processors]


def stay_on(processors: Collection[int]) -> None:
    """Keep the calling thread on some logical processors, where the system can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, processors)


def _numbers(path: Path) -> frozenset[int]:
    """What Linux writes as `0-3,8`; nothing where there is no such file."""
    try:
        text = path.read_text().strip()
    except OSError:
        return frozenset()
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
