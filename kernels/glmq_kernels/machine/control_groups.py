"""The processor time that Linux' control groups allow this process, of either version, nested or not.

A process is in one group of each hierarchy (`/proc/self/cgroup`), which is a folder under the place where the
hierarchy is mounted (`/proc/self/mountinfo`). The quotas of all groups that contain it count as well. In a
container the mounted hierarchy may begin at the container's own group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy of groups: which group is at the mount point, and where that is."""

    version: int
    top: PurePosixPath
    mount_point: Path


def processor_quota(root: Path) -> float | None:
    """Processors' worth of time, such as 1.5, that this process may use; None where nothing limits it.

    root: the folder that holds proc/ and whatever is mounted.
    """
    quotas = [
        quota
        for hierarchy in _hierarchies(root)
        for folder in _folders(hierarchy, _group(hierarchy.version, root))
        if (quota := _quota(hierarchy.version, folder)) is not None
    ]
    return min(quotas, default=None)


def _hierarchies(root: Path) -> Iterator[Hierarchy]:
    """Those that may limit processor time.

    A line of mountinfo: number, parent, device, top, mount point, options ..., "-", type, source, options.
    """
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        mount, kind = before.split(" "), after.split(" ")
        if len(mount) < 5 or len(kind) < 3:
            continue
        version = {"cgroup": 1, "cgroup2": 2}.get(kind[0], 0)
        if version == 2 or (version == 1 and "cpu" in kind[2].split(",")):
            top, mount_point = PurePosixPath(_unescaped(mount[3])), _unescaped(mount[4])
            yield Hierarchy(version, top, root / mount_point.lstrip("/"))


def _group(version: int, root: Path) -> PurePosixPath:
    """The group of this process. A line is `number:controllers:group`; version 2 has no controllers there."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if ("cpu" in controllers.split(",")) if version == 1 else not controllers:
            return PurePosixPath(group)
    return PurePosixPath("/")


def _folders(hierarchy: Hierarchy, group: PurePosixPath) -> Iterator[Path]:
    """The folders of a group and of all that contain it, as far as they are mounted."""
    below = PurePosixPath()
    if ".." not in group.parts and group.is_relative_to(hierarchy.top):
        below = group.relative_to(hierarchy.top)
    for part in (below, *below.parents):
        yield hierarchy.mount_point / part


def _quota(version: int, folder: Path) -> float | None:
    """A group's own quota."""
    if version == 2:
        words = _words(folder / "cpu.max")
    else:
        words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    if len(words) != 2 or not all(word.isdecimal() for word in words):  # max and -1: no limit
        return None
    quota, period = map(int, words)
    return quota / period if quota and period else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _unescaped(path: str) -> str:
    r"""A path of mountinfo, in which a space is written as \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
