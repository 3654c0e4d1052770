"""The kernel store: compiled kernels as native object files, made once, loaded in milliseconds.

A kernel is named `module.function` or `module.function:parameter:...`. It lives in
`glmq_kernels.native.<module>`: the function itself, or, with parameters, a function of them that
returns it. A kernel that stands on a tape has the signature

    void kernel(int64 args, int64 thread, int64 threads)

where `args` is the address of an int64 array that the caller and the kernel agree on. Those that are
called by other kernels take the int64 arguments that they name.

Numba compiles in a separate process (one per core), with the code generator set to the instructions
in use (`isa.py`). The object file is kept in the cache folder under a name that holds a hash of
everything it depends on, so a program whose kernels are all there never imports Numba.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from . import isa
from .cache_folder import cache_folder

NATIVE = Path(__file__).parent / "native"
ENTRY_POINT = "glmq_kernel"
Progress = Callable[[str, float], None]

_CALL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_loaded: dict[tuple[str, str], Kernel] = {}
_lock = threading.Lock()


class Kernel:
    """A loaded kernel. `address` is for tapes; calling it runs it on this thread, without the GIL."""

    def __init__(self, name: str, address: int, engine: Any) -> None:
        self.name = name
        self.address = address
        self._engine = engine  # keeps the machine code alive
        self._call = _CALL(address)

    def __call__(self, args: int, thread: int = 0, threads: int = 1) -> None:
        """Run the kernel as thread `thread` of `threads`; args: address of its arguments."""
        self._call(args, thread, threads)


def arguments(*values: int | float) -> np.ndarray:
    """An argument array: integers as int64, floats as the bits of a float64."""
    packed = np.empty(len(values), np.int64)
    for i, value in enumerate(values):
        if isinstance(value, float):
            packed[i : i + 1].view(np.float64)[0] = value
        else:
            packed[i] = value
    return packed


def kernel(name: str) -> Kernel:
    """One kernel by name; compiled first when it is not in the store."""
    found = _loaded.get((isa.current().name, name))
    return found if found is not None else kernels([name])[name]


def kernels(names: Iterable[str], progress: Progress | None = None) -> dict[str, Kernel]:
    """Several kernels by name. `progress(text, fraction)` is called while missing ones compile."""
    level = isa.current()
    wanted = list(dict.fromkeys(names))
    with _lock:
        paths = {name: _object_path(name, level) for name in wanted if (level.name, name) not in _loaded}
        missing = {name: path for name, path in paths.items() if not path.exists()}
        if missing:
            _compile(missing, level, progress)
        for name, path in paths.items():
            _loaded[level.name, name] = _load(name, path, level)
    return {name: _loaded[level.name, name] for name in wanted}


def _load(name: str, path: Path, level: isa.Isa) -> Kernel:
    import llvmlite.binding as llvm

    machine = isa.target_machine(level)
    module = llvm.parse_assembly("")
    module.triple = machine.triple
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(path.read_bytes()))
    engine.finalize_object()
    return Kernel(name, engine.get_function_address(ENTRY_POINT), engine)


@functools.cache
def _source_hash(module: Path) -> str:
    """Hash of a native module and of every module that it imports from this package."""
    seen: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for dots, target in re.findall(r"^from (\.+)([\w.]*) import", path.read_text(), re.MULTILINE):
            folder = path.parents[len(dots) - 1]
            target_path = folder.joinpath(*target.split(".")) if target else folder
            waiting += [target_path.with_suffix(".py"), *target_path.glob("*.py")]
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _tool_versions() -> str:
    """Of what makes machine code, without importing it."""
    from importlib import metadata

    return f"{metadata.version('numba')} {metadata.version('llvmlite')} {sys.version_info[:2]}"


def _object_path(name: str, level: isa.Isa) -> Path:
    module = NATIVE / f"{name.split('.')[0]}.py"
    text = "\n".join([name, level.cpu, level.features, _tool_versions(), _source_hash(module)])
    stem = re.sub(r"\W+", "-", name)
    folder = cache_folder() / "kernels" / level.name
    return folder / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:20]}.o"


def _compile(missing: dict[str, Path], level: isa.Isa, progress: Progress | None) -> None:
    """Compile kernels into their object files, in one process per core."""
    for path in missing.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "GLMQ_ISA": level.name,
        "NUMBA_CPU_NAME": level.cpu,
        "NUMBA_CPU_FEATURES": level.features,
        "NUMBA_DISABLE_JIT": "0",
        "PYTHONPATH": os.pathsep.join([str(NATIVE.parents[1]), os.environ.get("PYTHONPATH", "")]),
    }
    waiting = sorted(missing.items(), reverse=True)
    done = 0
    failures: list[str] = []
    report = threading.Lock()

    def work() -> None:
        nonlocal done
        process = subprocess.Popen(
            [sys.executable, "-m", "glmq_kernels.compile"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            while True:
                with report:
                    if not waiting or failures:
                        break
                    name, path = waiting.pop()
                process.stdin.write(f"{name}\t{path}\n")
                process.stdin.flush()
                answer = process.stdout.readline().strip()
                with report:
                    done += 1
                    if answer != "ok":
                        failures.append(f"{name}: {answer or 'the compiler process ended'}")
                    elif progress:
                        progress(f"compiling kernels (once): {done} of {len(missing)}", done / len(missing))
            process.stdin.close()

    if progress:
        progress(f"compiling kernels (once): 0 of {len(missing)}", 0.0)
    workers = [threading.Thread(target=work) for _ in range(min(os.cpu_count() or 1, len(missing)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        waiting.clear()  # after Ctrl-C nothing more is begun
    if failures:
        raise RuntimeError("kernel compilation failed: " + "; ".join(failures))
