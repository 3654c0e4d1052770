"""Folders of kernels compiled ahead, which a program carries: `glmq compile` makes them.

    kernels.json             what the folder holds: see `LibraryEntry`
    kernels-3f0c52a1.so      a shared library, named by its checksum; levels of instructions may share one

`use` adds a folder to those that this process takes kernels from; `$GLMQ_KERNELS` names one that is always
used. The first folder decides the level of instructions: the best of its libraries that the processor can
run. They are only read, and neither Numba nor LLVM is imported for them.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import GlmqError
from ..files.file_writing import Target, replacing
from ..machine.instructions import processor_features
from . import isa
from .cache_folder import lets_others_write
from .compiler_presence import can_compile, cannot_compile
from .shared_library import IMPORTS, link
from .source_hash import package_hash

CONTENTS = "kernels.json"
FORMAT = 1
SYSTEMS = ("linux-x86_64",)
"""Systems for which kernels can be compiled ahead."""


@dataclass(frozen=True)
class LibraryEntry:
    """What is told of a library.

    level: the fields of its `Isa`. needs: features without which it cannot run, by LLVM's names. file: its
    name. sha256: of its bytes. kernels: names. imports: what it wants the addresses of (`shared_library.py`).
    """

    level: Mapping[str, Any]
    needs: tuple[str, ...]
    file: str
    sha256: str
    n_bytes: int
    kernels: tuple[str, ...]
    imports: tuple[str, ...]


@dataclass(frozen=True)
class NewLibrary:
    """What a library is to be made of: object files by the names of kernels, and the rest as in its entry."""

    level: Mapping[str, Any]
    needs: tuple[str, ...]
    objects: Mapping[str, bytes]


class KernelFolder:
    """An open folder. libraries: entries by names, the best first."""

    def __init__(self, path: Path, libraries: Mapping[str, LibraryEntry]) -> None:
        self.path = path
        self.libraries = libraries
        self._loaded: dict[str, ctypes.CDLL] = {}

    def best(self, features: frozenset[str], level: str) -> LibraryEntry | None:
        """The best library that a processor can run. level: the name of the one that is wanted, if any."""
        for entry in self.libraries.values():
            if features.issuperset(entry.needs) and level in ("", entry.level["name"]):
                return entry
        return None

    def address(self, name: str, level: Mapping[str, Any]) -> int | None:
        """Of a kernel of a level of instructions, which is loaded; None where the folder lacks it.

        Raises GlmqError for a library that cannot be loaded.
        """
        for entry in self.libraries.values():
            if entry.level == level and name in entry.kernels:
                if entry.file not in self._loaded:
                    self._loaded[entry.file] = _load(self.path, entry)
                return ctypes.cast(self._loaded[entry.file][name], ctypes.c_void_p).value
        return None


def system() -> str:
    """The system that this is, as one of `SYSTEMS`."""
    return f"{sys.platform}-{platform.machine().lower().replace('amd64', 'x86_64')}"


_given: dict[Path, KernelFolder] = {}


def use(path: Path) -> None:
    """Take kernels from a folder from now on. Raises GlmqError for one that cannot be used."""
    path = path.expanduser().absolute()
    if path in _given:
        return
    folder = read_folder(path)
    if not _given and (level := _best_level(folder)) is not None:
        isa.force(isa.Isa(**level))
    _given[path] = folder


def folders() -> tuple[KernelFolder, ...]:
    """The folders in use, in order. Raises GlmqError for what `$GLMQ_KERNELS` names and cannot be used."""
    if chosen := os.environ.get("GLMQ_KERNELS"):
        use(Path(chosen))
    return tuple(_given.values())


def _best_level(folder: KernelFolder) -> Mapping[str, Any] | None:
    """The fields of the level that a folder decides; None where kernels are to be compiled instead.

    Raises GlmqError where the processor can run none of its libraries and nothing can be compiled.
    """
    wanted = os.environ.get("GLMQ_ISA", "").strip().lower()
    entry = folder.best(processor_features(), wanted)
    if entry is not None:
        return entry.level
    if can_compile():
        return None
    has = ", ".join(folder.libraries) or "nothing"
    lacking = wanted or "this processor's instructions"
    raise cannot_compile(f"{folder.path} has kernels for {has}, not for {lacking}")


def find(name: str, level: Mapping[str, Any]) -> int | None:
    """The address of a kernel in the folders in use; None where none has it."""
    for folder in _given.values():
        if (address := folder.address(name, level)) is not None:
            return address
    return None


def read_folder(path: Path) -> KernelFolder:
    """Open a folder. Raises GlmqError for what is none of this glmq's, or can be written by others."""
    if system() not in SYSTEMS:
        raise GlmqError(
            f"{path} cannot be used: folders of kernels are for {', '.join(SYSTEMS)} so far, and this is"
            f" {system()}, where kernels are compiled when they are first wanted"
        )
    contents = path / CONTENTS
    try:
        _check_private(path)
        _check_private(contents)
        told = json.loads(contents.read_bytes())
        form, sources = told["format"], told["sources"]
        libraries = (
            {name: _entry(fields) for name, fields in told["libraries"].items()} if form == FORMAT else {}
        )
    except OSError as error:
        raise GlmqError(
            f"{path} is no folder of kernels: {error.strerror}: {error.filename};"
            " make one with `glmq compile`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GlmqError(f"{contents} is damaged; make the folder again with `glmq compile`") from None
    if form != FORMAT or package_hash() not in (sources, None):
        raise GlmqError(f"{path} is of another version of glmq; make it again with `glmq compile`")
    return KernelFolder(path, libraries)


def _entry(fields: Mapping[str, Any]) -> LibraryEntry:
    level = fields["level"] | {"attention_rows": tuple(fields["level"]["attention_rows"])}
    return LibraryEntry(
        level, tuple(fields["needs"]), str(fields["file"]), str(fields["sha256"]), int(fields["n_bytes"]),
        tuple(fields["kernels"]), tuple(fields["imports"]),
    )  # fmt: skip


def write_folder(
    path: Path, libraries: Mapping[str, NewLibrary | LibraryEntry], entry_point: str
) -> KernelFolder:
    """Make a folder hold libraries, by names, the best first. Entries are of those that it has already.

    Those that it held before are replaced when the new ones are all written: whatever interrupts this, the
    folder holds all of the old or all of the new. Raises GlmqError where nothing can be written.
    """
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        entries = {}
        for name, new in libraries.items():
            if isinstance(new, LibraryEntry):
                entries[name] = new
                continue
            library = link(new.objects, entry_point)
            digest = hashlib.sha256(library.content).hexdigest()
            file = f"kernels-{digest[:8]}.so"
            _write(path / file, library.content)
            entries[name] = LibraryEntry(
                new.level, new.needs, file, digest, len(library.content), tuple(new.objects), library.imports
            )
        told = {"format": FORMAT, "sources": package_hash(), "libraries": entries}
        text = json.dumps(told, default=asdict, indent=1)
        _write(path / CONTENTS, text.encode())
        _remove_others(path, entries)
    except OSError as error:
        raise GlmqError(f"{path} cannot be written: {error.strerror or error}") from None
    return KernelFolder(path, entries)


def _remove_others(path: Path, entries: Mapping[str, LibraryEntry]) -> None:
    """Remove libraries that the folder does not tell of any more."""
    kept = {entry.file for entry in entries.values()}
    for file in path.glob(f"kernels-{'[0-9a-f]' * 8}.so"):
        if file.name not in kept:
            file.unlink()


def _write(path: Path, content: bytes) -> None:
    with replacing(Target(path, path, before=None, force=True)) as unfinished:
        unfinished.write_bytes(content)
        unfinished.chmod(0o644)


def _load(folder: Path, entry: LibraryEntry) -> ctypes.CDLL:
    """Load a library and tell it where what it imports is."""
    path = folder / entry.file
    try:
        _check_private(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != entry.sha256:
            raise GlmqError(f"{path} is damaged; make the folder again with `glmq compile`")
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise GlmqError(f"{path} cannot be loaded: {error.strerror or error}") from None
    if entry.imports:
        table = (ctypes.c_void_p * len(entry.imports)).in_dll(library, IMPORTS)
        table[:] = [_address_outside(name) for name in entry.imports]
    return library


@functools.cache
def _address_outside(name: str) -> int:
    """Of a function of the C library; of `abort` for Numba's way of telling errors, which no kernel goes."""
    program = ctypes.CDLL(None)
    function = getattr(program, name, None) or program.abort
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _check_private(path: Path) -> None:
    """Refuse what others can write to: it would be run. Who owns it is asked no more than of glmq itself."""
    if lets_others_write(path.stat()):
        raise GlmqError(
            f"{path} can be written by others, so kernels in it may be theirs; take that permission away"
            " (chmod go-w)"
        )
