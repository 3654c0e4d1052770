"""Speeds of two revisions of glmq on one file, in turn, each time in a new process; prints Markdown.

python bench/revisions.py REVISION FILE [--pairs 3] [options of bench/measure.py]

REVISION is a commit that is compared with this working tree. Its files are checked out beside, for the time
of the comparison. Kernels are compiled before anything is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def measure(tree: Path, file: str, options: list[str]) -> dict[str, Any]:
    """Speeds of the revision in a folder."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(tree / part) for part in (".", "kernels", "convert"))
    }
    command = [sys.executable, str(tree / "bench" / "measure.py"), "glmq", file, *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=tree)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(work: str, before: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    """One work's medians, and the ratio with its range pair by pair."""
    old, new = ([statistics.median(each[work]) for each in side] for side in (before, now))
    ratios = [b / a for a, b in zip(old, new, strict=True)]
    return (
        f"| {work} | {statistics.median(new):.1f} | {statistics.median(old):.1f}"
        f" | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("revision")
    parser.add_argument("file")
    parser.add_argument("--pairs", type=int, default=3)
    args, options = parser.parse_known_args()
    file = os.path.abspath(args.file)
    before, now = [], []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(
            ["git", "worktree", "add", "-q", "--detach", str(tree), args.revision], check=True, cwd=ROOT
        )
        try:
            for side in (tree, ROOT):
                measure(side, file, ["--prompt", "64", "--decode", "1", "--repeat", "1"])
            for _ in range(args.pairs):
                before.append(measure(tree, file, options))
                now.append(measure(ROOT, file, options))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True, cwd=ROOT)
    print(f"| tokens per second | now | {args.revision} | ratio |\n| --- | --- | --- | --- |")
    for work in ("prompt", "decode"):
        if before[0][work]:
            print(row(work, before, now))


if __name__ == "__main__":
    main()
