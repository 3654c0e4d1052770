"""How many threads this process can run at once: what the machine has, and what the process may use of it.

Two answers are wanted. Threads that wait for each other, and each of which keeps the whole of a core busy,
are best one on each physical core: `core_count`. Work in independent pieces gains from every logical
processor: `processor_count`. Both leave out processors that the process's affinity excludes, and are no more
than a control group's quota of processor time allows (`control_groups.py`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection
from pathlib import Path
from struct import unpack_from

from ..errors import GlmqError
from .control_groups import processor_quota

ROOT = Path("/")
"""Of the files that Linux describes itself in; tests have made-up ones elsewhere."""

PROCESSOR_CORE = 0
"""RelationProcessorCore, for GetLogicalProcessorInformationEx."""


MOST_THREADS = 1024


def check_threads(n_threads: int | None) -> None:
    """Raise GlmqError for a number of threads that no machine is helped by. None leaves it open."""
    if n_threads is not None and not 1 <= n_threads <= MOST_THREADS:
        raise GlmqError(f"{n_threads} threads are not possible; choose 1 to {core_count()}")


def core_count() -> int:
    """Physical cores that this process may use, at least 1: how many threads a thread pool has by default."""
    processors = _allowed_processors()
    if sys.platform == "linux":
        count = linux_cores(processors)
    elif sys.platform == "win32":
        count = _windows_cores()
    elif sys.platform == "darwin":
        count = _mac_cores()
    else:
        count = len(processors)
    return within_quota(count or len(processors))


def processor_count() -> int:
    """Logical processors that this process may use, at least 1."""
    return within_quota(len(_allowed_processors()))


def within_quota(count: int, root: Path = ROOT) -> int:
    """So many, or what the quota allows: the nearest whole number, at least 1."""
    quota = processor_quota(root)
    return max(1, count if quota is None else min(count, int(quota + 0.5)))


def linux_cores(processors: Collection[int], root: Path = ROOT) -> int:
    """Physical cores that logical processors are on. One that Linux says nothing of counts as a core."""
    cores = set()
    for processor in processors:
        topology = root / f"sys/devices/system/cpu/cpu{processor}/topology"
        siblings = str(processor)
        for name in ("core_cpus_list", "thread_siblings_list"):  # the older kernels' name is the second
            try:
                siblings = (topology / name).read_text().strip() or siblings
                break
            except OSError:
                continue
        cores.add(siblings)
    return len(cores)


def windows_cores(records: bytes, allowed: int) -> int:
    """Cores in what GetLogicalProcessorInformationEx gives.

    allowed: mask of the logical processors that the process may run on, in its group of 64; 0: all of all
    groups.
    """
    count = at = 0
    while at + 32 <= len(records):
        relationship, size = unpack_from("<II", records, at)
        mask = unpack_from("<Q", records, at + 32)[0]
        count += relationship == PROCESSOR_CORE and (allowed == 0 or mask & allowed != 0)
        at += max(size, 32)
    return count


def _allowed_processors() -> Collection[int]:
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _windows_cores() -> int:
    if sys.platform != "win32":
        return 0
    kernel32 = ctypes.WinDLL("kernel32")
    size = ctypes.c_uint32(0)
    kernel32.GetLogicalProcessorInformationEx(PROCESSOR_CORE, None, ctypes.byref(size))
    records = ctypes.create_string_buffer(size.value)
    if not kernel32.GetLogicalProcessorInformationEx(PROCESSOR_CORE, records, ctypes.byref(size)):
        return 0
    allowed, all_of_group = ctypes.c_size_t(0), ctypes.c_size_t(0)
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel32.GetCurrentProcess())
    kernel32.GetProcessAffinityMask(process, ctypes.byref(allowed), ctypes.byref(all_of_group))
    restricted = allowed.value != all_of_group.value
    return windows_cores(records.raw, allowed.value if restricted else 0)


def _mac_cores() -> int:
    count, size = ctypes.c_int32(0), ctypes.c_size_t(4)
    system = ctypes.CDLL(None)
    failed = system.sysctlbyname(b"hw.physicalcpu", ctypes.byref(count), ctypes.byref(size), None, 0)
    return 0 if failed else count.value
