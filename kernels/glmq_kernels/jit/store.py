"""The kernel store: compiled kernels as native object files, made once, loaded in milliseconds.

A kernel is named `module.function` or `module.function:parameter:...`, the module as a path within this
package, such as `ops.attention.kernel`. It is the function itself, or, with parameters, what the function
returns for them. A kernel that stands on a tape has the signature

    void kernel(int64 args, int64 thread, int64 threads)

where `args` is the address of an int64 array that the caller and the kernel agree on. Those that are
called by other kernels take the int64 arguments that they name.

Numba compiles in separate processes (`compilation.py`), with the code generator set to the instructions
in use (`isa.py`). The object file is kept in the cache folder under a name that holds a hash of
everything it depends on, so a program whose kernels are all there never imports Numba. A file that is
not as it was written, or that another user could have written, is compiled anew.

Before all this a kernel is looked for in folders of kernels compiled ahead (`kernel_folder.py`), for which
neither Numba nor LLVM is needed.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import zeros
from ..errors import GlmqError
from ..machine.fork_safe_lock import ForkSafeLock
from . import isa, kernel_folder
from .cache_folder import private_folder
from .call_record import CallRecord, in_order
from .compilation import Progress, compile_kernels
from .compiler_presence import can_compile, cannot_compile
from .object_file import read_object
from .source_hash import PACKAGE, source_hash

ENTRY_POINT = "glmq_kernel"
COMPILER = ("compile.py", "whole_module.py")
"""Files beside this one that say how kernels are compiled."""

_CALL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_loaded: dict[tuple[isa.Isa, str], Kernel] = {}
_lock = ForkSafeLock()


class Kernel:
    """A loaded kernel. `address` is for tapes; calling it runs it on this thread, without the GIL."""

    def __init__(self, name: str, address: int, engine: Any = None) -> None:
        self.name = name
        self.address = address
        self._engine = engine  # keeps the machine code alive
        self._call = _CALL(address)

    def __call__(self, args: int, thread: int = 0, threads: int = 1) -> None:
        """Run the kernel as thread `thread` of `threads`; args: address of its arguments."""
        self._call(args, thread, threads)


def arguments(*values: int | float) -> np.ndarray:
    """An argument array: integers as int64, floats as the bits of a float64."""
    packed = zeros(len(values), np.int64)
    for i, value in enumerate(values):
        if isinstance(value, float):
            packed[i : i + 1].view(np.float64)[0] = value
        else:
            packed[i] = value
    return packed


def packed(record: type[CallRecord], **fields: int | float) -> np.ndarray:
    """The argument array of a kernel that is called on its own: its fields by names in small letters."""
    return arguments(*in_order(record, fields))


def kernel(name: str) -> Kernel:
    """One kernel by name; compiled first when it is not in the store."""
    return kernels([name])[name]


def kernels(names: Iterable[str], progress: Progress | None = None) -> dict[str, Kernel]:
    """Several kernels by name: from folders of them, else from the store.

    `progress(text, fraction)` is called while those that are in neither are compiled. Raises GlmqError where
    that is not possible.
    """
    kernel_folder.folders()  # which decide the level
    level = isa.current()
    wanted = list(dict.fromkeys(names))
    with _lock:
        new = [name for name in wanted if (level, name) not in _loaded]
        for name in new:
            if (address := kernel_folder.find(name, asdict(level))) is not None:
                _loaded[level, name] = Kernel(name, address)
        rest = [name for name in new if (level, name) not in _loaded]
        for name, code in object_codes(rest, level, progress).items():
            _loaded[level, name] = _load(name, code, level)
    return {name: _loaded[level, name] for name in wanted}


def object_codes(names: Sequence[str], level: isa.Isa, progress: Progress | None) -> dict[str, bytes]:
    """Object files of kernels by names, from the cache folder, where they are put first if they are missing.

    Raises GlmqError.
    """
    if names and not can_compile():
        folders = kernel_folder.folders()
        lacking = (
            f"{folders[0].path} lacks kernels for {level.name}" if folders else "kernels must be compiled"
        )
        raise cannot_compile(f"{lacking}, such as {names[0]}" if folders else lacking)
    paths = {name: object_path(name, level) for name in names}
    found = {name: read_object(path) for name, path in paths.items()}
    missing = {name: paths[name] for name, code in found.items() if code is None}
    if missing:
        compile_kernels(missing, level, progress)
    codes = {}
    for name, path in paths.items():
        code = found[name] or read_object(path)
        if code is None:
            raise GlmqError(
                f"{path} is not what was written to it; check the disk"
                " or set GLMQ_CACHE to a folder on another one"
            )
        codes[name] = code
    return codes


def _load(name: str, code: bytes, level: isa.Isa) -> Kernel:
    import llvmlite.binding as llvm

    machine = isa.target_machine(level)
    module = llvm.parse_assembly("")
    module.triple = machine.triple
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Kernel(name, engine.get_function_address(ENTRY_POINT), engine)


def object_path(name: str, level: isa.Isa) -> Path:
    """Where the object file of a kernel is, by everything that its machine code depends on."""
    module, _, _ = name.partition(":")[0].rpartition(".")
    made_of = (
        name,
        ENTRY_POINT,
        repr(level),
        f"{sys.platform} {platform.machine()} {sys.implementation.cache_tag}",
        *(source_hash(PACKAGE / "jit" / name, follow=False) for name in COMPILER),
        source_hash(PACKAGE / f"{module.replace('.', '/')}.py"),
    )
    stem = re.sub(r"\W+", "-", name)
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:20]
    return private_folder(f"kernels/{level.name}") / f"{stem}-{digest}.o"
