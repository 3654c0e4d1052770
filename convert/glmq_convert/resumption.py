"""A record of how far a conversion is, so that a later run can go on with what a killed one left.

It lies beside the unfinished files:

    {"fingerprint": …, "files": [names of the unfinished files]}
    312        lines with how many portions, from the first on, are written and on the disk;
    640        the last whole one counts

The fingerprint is of everything that the files' bytes follow from: headers, source and settings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import flush, hidden_beside, is_locked

SUFFIX = ".progress"


@dataclass(frozen=True)
class LeftOver:
    """What an earlier run left.

    files: the unfinished ones; has_name: which of them have their final names already, and so are finished.
    n_done: portions that are done.
    """

    files: tuple[Path, ...]
    has_name: tuple[bool, ...]
    n_done: int


class Record:
    """The record of the conversion to a file, as a context that removes it at the end.

    path: the file to be made; of several, the name that a single one would have. keep: leave the record
    there when the block fails.
    """

    def __init__(self, path: Path, fingerprint: str, keep: bool) -> None:
        self._path = hidden_beside(path, SUFFIX)
        self._fingerprint, self._keep = fingerprint, keep
        self._files: list[Path] = []

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not self._keep:
            with suppress(OSError):
                self._path.unlink()

    def left_over(self, targets: Sequence[Path]) -> LeftOver | None:
        """What there is to go on with; None for nothing.

        targets: the files to be made. Raises GlmqError when it was made from another source or by other
        choices.
        """
        found = self._read()
        if found is None:
            return None
        told, n_done = found
        files = [self._path.with_name(str(name)) for name in told.get("files", ())]
        if told.get("fingerprint") != self._fingerprint or len(files) != len(targets):
            raise GlmqError(
                f"what an earlier run has left of {targets[0]} was made from another source or by other"
                " choices; choose as then, or begin anew, which removes it",
                setting="resume",
            )
        has_name = tuple(not file.exists() for file in files)
        if any(named and not target.exists() for named, target in zip(has_name, targets, strict=True)):
            return None  # what it tells of is gone
        return LeftOver(tuple(files), has_name, n_done)

    def forget(self) -> None:
        """Remove what an earlier run has left."""
        if found := self._read():
            for name in found[0].get("files", ()):
                file = self._path.with_name(str(name))
                with suppress(OSError):
                    if not is_locked(file):
                        file.unlink()
            with suppress(OSError):
                self._path.unlink()

    def begin(self, files: Sequence[Path], n_done: int) -> None:
        """Begin to record. files: the unfinished ones."""
        self._files = list(files)
        head = {"fingerprint": self._fingerprint, "files": [file.name for file in files]}
        self._path.write_text(f"{json.dumps(head)}\n{n_done}\n", encoding="utf-8")

    def note(self, n_done: int) -> None:
        """So many portions are written: have them on the disk, then record it."""
        for file in self._files:
            if file.exists():
                flush(file)
        with open(self._path, "a", encoding="utf-8") as record:
            record.write(f"{n_done}\n")

    def _read(self) -> tuple[dict[str, Any], int] | None:
        """The head and the last whole number of the record; None where there is no sound one."""
        try:
            head, *numbers = self._path.read_text(encoding="utf-8").split("\n")[:-1]
            told = json.loads(head)
            return (told, int(numbers[-1])) if isinstance(told, dict) else None
        except (OSError, ValueError, IndexError):
            return None
