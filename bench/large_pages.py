"""Time a model whose file is mapped, in small pages, beside the same read into memory, in large ones.

python bench/large_pages.py FILE [--threads 2] [--decode 24] [--rounds 5]

Prints seconds of loading (with the file in the system's cache), and tokens per second of decoding, in turn.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from pathlib import Path

from many_threads import decode_ms

import glmq


def large_page_bytes() -> int:
    """Of this process's memory (Linux)."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(1024 * int(n) for n in re.findall(r"(?:AnonHugePages|FilePmdMapped): +(\d+)", text))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decode", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    sessions = {}
    for mode in ("mmap", "read"):
        began = time.perf_counter()
        model = glmq.load(args.file, n_ctx=512, n_threads=args.threads, activations="int8", load=mode)
        session = model.session()
        session.evaluate([0])
        seconds = time.perf_counter() - began
        print(f"{mode}: {seconds:.2f} s to the first token, {large_page_bytes() / 1e9:.2f} GB in large pages")
        session.evaluate(list(range(64)))
        sessions[mode] = session
    found: dict[str, list[float]] = {mode: [] for mode in sessions}
    for _ in range(args.rounds):
        for mode, session in sessions.items():
            found[mode].append(1e3 / decode_ms(session, 65, args.decode))
    for mode, speeds in found.items():
        print(f"{mode}: {statistics.median(speeds):.1f} tokens/s ({min(speeds):.1f} to {max(speeds):.1f})")


if __name__ == "__main__":
    main()
