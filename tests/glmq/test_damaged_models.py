"""Random damage to a model file: it is refused with one line or it runs; the process never dies or hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
N_DAMAGED = 1000


def test_damaged_models_are_refused_or_run(small_path, tmp_path):
    folders = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "convert")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.glmq.run_damaged", str(small_path), str(tmp_path), str(N_DAMAGED)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, ran = map(int, done.stdout.split())
    assert refused + ran == N_DAMAGED
    assert min(refused, ran) > 0.1 * N_DAMAGED
