"""How much memory the system has to give, and how much of it this process takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that this process could take now: what the machine has free, or what its control group allows."""
    amounts = [amount for amount in (_free_on_machine(), *_left_in_control_groups()) if amount is not None]
    return min(amounts) if amounts else None


def _free_on_machine() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _free_on_windows()
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.8)
    return None


def _free_on_windows() -> int | None:
    if sys.platform != "win32":
        return None
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong), ("load", ctypes.c_ulong), ("total", ctypes.c_uint64),
            ("available", ctypes.c_uint64), ("rest", ctypes.c_uint64 * 5),
        )  # fmt: skip

    status = Status(length=ctypes.sizeof(Status))
    worked = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available) if worked else None


def _left_in_control_groups() -> list[int]:
    """Of each control group that this process is in, and those around it: the limit less what is used.

    What is used does not count file cache.
    """
    left = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers == "memory":
            top = CONTROL_GROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
        elif not controllers:
            top = CONTROL_GROUPS
            names = ("memory.max", "memory.current", "file")
        else:
            continue
        lowest = top / group.lstrip("/")
        for folder in (lowest, *lowest.parents[: len(lowest.parts) - len(top.parts)]):
            limit, used = (_number(folder / name) for name in names[:2])
            if limit is not None and used is not None:
                left.append(max(0, limit - used + _field(folder / "memory.stat", names[2])))
    return left


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _field(path: Path, name: str) -> int:
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def resident_memory() -> int | None:
    """Bytes of memory that this process takes now; None where the system does not tell."""
    return _status_of_process("VmRSS")


def peak_memory() -> int | None:
    """Most bytes of memory that this process took, files it has mapped included; None where unknown."""
    if sys.platform == "win32":
        return None
    if peak := _status_of_process("VmHWM"):  # the next figure begins with what the parent process took
        return peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _status_of_process(name: str) -> int | None:
    for line in _lines("/proc/self/status"):
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
