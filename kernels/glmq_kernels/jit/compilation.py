"""Compiling kernels that are missing: one compiler process per processor, with progress."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from ..errors import GlmqError
from ..machine.cores import processor_count
from .isa import Isa
from .source_hash import PACKAGE

Progress = Callable[[str, float], None]
UNWRITABLE = "unwritable: "
"""Begins the answer of a compiler process whose object file could not be written."""


def compile_kernels(missing: Mapping[str, Path], level: Isa, progress: Progress | None) -> None:
    """Compile kernels, by name, into their object files.

    Raises GlmqError when these cannot be written or there is too little memory.
    """
    Compilation(missing, level, progress).run()


class Compilation:
    """Kernels that wait to be compiled, and what has become of the others."""

    def __init__(self, missing: Mapping[str, Path], level: Isa, progress: Progress | None) -> None:
        self._waiting = sorted(missing.items(), reverse=True)
        self._n_kernels = len(missing)
        self._level = level
        self._progress = progress
        self._n_done = 0
        self._failures: list[tuple[str, Path, str]] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Compile them all."""
        self._report()
        n_workers = min(processor_count(), self._n_kernels)
        workers = [threading.Thread(target=self._work) for _ in range(n_workers)]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        finally:
            self._waiting.clear()  # after Ctrl-C nothing more is begun
        if self._failures:
            raise _failure(*self._failures[0])

    def _report(self) -> None:
        if self._progress:
            text = f"compiling kernels (once): {self._n_done} of {self._n_kernels}"
            self._progress(text, self._n_done / self._n_kernels)

    def _next(self) -> tuple[str, Path] | None:
        with self._lock:
            return self._waiting.pop() if self._waiting and not self._failures else None

    def _work(self) -> None:
        """Have kernels compiled by a process of this thread's own, one after the other."""
        compiler: Compiler | None = None
        try:
            while (kernel := self._next()) is not None:
                try:
                    compiler = compiler or Compiler(self._level, kernel[1].parent)
                    answer = compiler.compile(*kernel)
                except OSError as error:
                    answer = f"the compiler cannot be run: {error.strerror}"
                with self._lock:
                    if answer == "ok":
                        self._n_done += 1
                        self._report()
                    else:
                        self._failures.append((*kernel, answer))
        finally:
            if compiler is not None:
                compiler.close()


class Compiler:
    """A compiler process (`compile.py`). Its working folder is one in which it finds no settings."""

    def __init__(self, level: Isa, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "glmq_kernels.jit.compile", json.dumps(asdict(level))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=compiler_environment(level), cwd=folder,
            encoding="utf-8", errors="surrogateescape", start_new_session=True,
        )  # fmt: skip

    def compile(self, name: str, path: Path) -> str:
        """Compile a kernel; gives the process's answer, or how it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # that it has ended is seen below
            self._process.stdin.write(f"{name}\t{path}\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if answer:
            return answer
        status = self._process.wait()
        return f"the compiler ended with signal {-status}" if status < 0 else "the compiler ended"

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def compiler_environment(level: Isa) -> dict[str, str]:
    """The environment of a compiler process: nothing of the user's changes the machine code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    # Numba works for this machine. For others it gets one with vectors as short, which converts float16.
    cpu, features = ("x86-64-v3", "+prefer-128-bit") if level.triple else (level.cpu, level.features)
    folders = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return kept | {
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
        "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *map(os.path.abspath, folders)]),
        "PYTHONIOENCODING": "utf-8:surrogateescape",
    }


def _failure(name: str, path: Path, answer: str) -> Exception:
    if answer.startswith(UNWRITABLE):
        return GlmqError(
            f"compiled kernels cannot be written to {path.parent}: {answer[len(UNWRITABLE) :]};"
            " make room there or set GLMQ_CACHE to another folder"
        )
    if "signal 9" in answer:
        return GlmqError(f"{answer} while it compiled {name}; there may be too little memory: close programs")
    return RuntimeError(f"kernel compilation failed: {name}: {answer}")
