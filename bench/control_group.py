"""A limit on the memory of processes, their file cache included: a control group of Linux (needs root)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(n_bytes: int) -> Iterator[Path]:
    """A new control group; write process numbers to its file `cgroup.procs`. OSError without the right to."""
    first = (ROOT / "memory").is_dir()  # the first version of control groups has a folder for each resource
    folder = (ROOT / "memory" if first else ROOT) / f"glmq-bench-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(n_bytes))
        yield folder
    finally:
        for _ in range(50):
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


def run_limited(command: list[str], n_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run a command within so much memory, with nothing in the file cache before."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    with memory_limit(n_bytes) as folder:

        def join() -> None:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

        return subprocess.run(command, preexec_fn=join, stdout=subprocess.PIPE, text=True, check=False)
