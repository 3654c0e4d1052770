"""Time saving and restoring sessions, against evaluating the same tokens and against the disk.

python bench/session_file.py [--tokens 8192] [--layers 46] [--demo-tokens 6000] [--folder DIR]

First a KV cache of GLM-4.5-Air's shape with random contents, then the demo model with a long text (none with
--demo-tokens 0). Twice as much memory as the cache takes is needed, and as much of the disk.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

import glmq
from glmq.kv_cache.page_pool import PagePool
from glmq.kv_cache.prefix_tree import PrefixTree
from glmq.kv_cache.sequence import Sequence
from glmq.model_file import model_file
from glmq.session import Session
from glmq.session_file import restore_session

AIR = CacheShape(n_layers=46, n_kv_heads=8, key_dim=128, value_dim=128)
ROUNDS = 3
"""Comparisons with the disk, which take turns."""
BLOCK = 4 << 20


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives and the seconds it took."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def tell(what: str, seconds: float, n_bytes: int | None = None) -> None:
    """Print a line."""
    speed = f"{n_bytes / seconds / 1e9:8.2f} GB/s" if n_bytes else ""
    print(f"{what:44}{1000 * seconds:10.1f} ms{speed}", flush=True)


def read_plainly(path: Path) -> None:
    """Read a file into one small buffer."""
    buffer = bytearray(BLOCK)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def write_plainly(path: Path, n_bytes: int) -> None:
    """Write a new file from one small buffer, onto the disk."""
    buffer = os.urandom(BLOCK)
    with open(path, "wb", buffering=0) as file:
        for _ in range(n_bytes // BLOCK):
            file.write(buffer)
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def session_of(shape: CacheShape, n_ctx: int) -> Session:
    """A session without a model."""
    tree = PrefixTree(PagePool(shape, shape.n_bytes(n_ctx)))
    engine: Any = SimpleNamespace(prefix_tree=tree, deterministic=False, require_usable=lambda: None)
    file: Any = SimpleNamespace(fingerprint="random", text=lambda key: "glm4moe")
    return Session(engine, file, n_ctx)


def measure_cache(shape: CacheShape, n_tokens: int, path: Path) -> None:
    """A large cache of random bytes."""
    session = session_of(shape, n_tokens + 64)
    sequence = session.sequence
    sequence.reserve(n_tokens)
    rng = np.random.default_rng(0)
    for page in sequence.pages:
        page.bytes[:] = rng.integers(0, 256, page.bytes.shape, np.uint8)
    sequence.extend(range(n_tokens - 100))
    n_bytes = shape.n_bytes(n_tokens)
    print(f"{shape.n_layers} layers of GLM-4.5-Air's shape, {n_tokens} tokens, {n_bytes / 1e9:.2f} GB")
    for _ in range(ROUNDS):
        compare_saving(session, path, n_bytes)
    sequence.extend(range(n_tokens - 100, n_tokens))
    tell("save again after 100 more tokens", timed(lambda: session.save(path))[1])
    tell("touch fresh memory", timed(lambda: np.zeros(n_bytes, np.uint8)[::4096].fill(1))[1], n_bytes)
    other = session_of(shape, n_tokens + 4096)
    tell("restore, file in the page cache", restored_in(path, other), n_bytes)
    tell("read alone, file in the page cache", timed(lambda: read_plainly(path))[1], n_bytes)
    measure_prefix(path, other)
    for _ in range(ROUNDS):
        forget(path)
        tell("restore, file on the disk", restored_in(path, other), n_bytes)
        forget(path)
        tell("read alone, file on the disk", timed(lambda: read_plainly(path))[1], n_bytes)
    path.unlink()


def compare_saving(session: Session, path: Path, n_bytes: int) -> None:
    """Save all of a session, and write as much."""
    path.unlink(missing_ok=True)
    tell("save", timed(lambda: session.save(path))[1], n_bytes)
    plain = path.with_name("plain")
    tell("write alone, onto the disk", timed(lambda: write_plainly(plain, n_bytes))[1], n_bytes)
    plain.unlink()


def measure_prefix(path: Path, session: Session) -> None:
    """All tokens of a restored session as the beginning of another, in the same pages."""
    restore_session(path, session)
    tree, tokens = session.sequence._tree, session.tokens
    n_taken = tree.pool.n_taken
    other = Sequence(tree)
    found, seconds = timed(lambda: other.adopt([*tokens, 0]))
    assert found == len(tokens) // POSITIONS_PER_PAGE * POSITIONS_PER_PAGE
    forked, of_fork = timed(session.sequence.fork)
    n_pages = tree.pool.n_taken - n_taken
    tell(f"{found} of the tokens begin another sequence", seconds)
    tell("a fork", of_fork)
    print(f"    pages taken for both: {n_pages}; the page table of each: {other.page_table.nbytes} bytes")
    for each in (other, forked):
        each.release(publish=False)
    clear(session)


def clear(session: Session) -> None:
    """Let a session, and the prefix tree, have nothing."""
    session.sequence.release(publish=False)
    with session.sequence._tree.pool.lock:
        session.sequence._tree.clear()


def restored_in(path: Path, session: Session) -> float:
    """Seconds of restoring into a session, which then gives its memory back to the system."""
    restored, seconds = timed(lambda: restore_session(path, session))
    assert restored.reason is None
    clear(session)
    return seconds


def measure_demo(n_tokens: int, path: Path) -> None:
    """The demo model: what restoring saves."""
    with glmq.load(model_file("demo"), n_ctx=n_tokens + 64) as model:
        tokens = model.tokenize("It was a long conversation about many things. " * n_tokens)[:n_tokens]
        session = model.session()
        print(f"the demo model, {n_tokens} tokens")
        tell("fingerprint of the model", timed(lambda: model.file.fingerprint)[1])
        tell("evaluate", timed(lambda: session.evaluate(tokens))[1])
        tell("save", timed(lambda: session.save(path))[1], path.stat().st_size)
        session.evaluate(tokens[:20])
        tell("save again after 20 more tokens", timed(lambda: session.save(path))[1])
        restored, seconds = timed(lambda: model.restore_session(path))
        tell("restore", seconds, path.stat().st_size)
        assert (restored.session.evaluate([1]) == session.evaluate([1])).all()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--layers", type=int, default=AIR.n_layers, help="of the cache's shape")
    parser.add_argument("--demo-tokens", type=int, default=6000)
    parser.add_argument("--folder", type=Path, help="where the file is written")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        shape = replace(AIR, n_layers=args.layers)
        measure_cache(shape, args.tokens, Path(folder) / "cache.session")
        if args.demo_tokens:
            measure_demo(args.demo_tokens, Path(folder) / "demo.session")


if __name__ == "__main__":
    main()
