"""Whatever a model file says, it is refused with one line or runs within its memory to finite logits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="every case is a forked process")


@pytest.mark.parametrize("n", (100, pytest.param(2000, marks=pytest.mark.slow)))
def test_changed_models_are_refused_or_run(tmp_path, n):
    """In child processes, with every array that kernels get ending at an unreadable page."""
    folders = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "convert")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.glmq.run_changed", str(tmp_path), str(n)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    cases, ran, refused, failed = map(int, done.stdout.split())
    assert (cases, failed) == (n, 0)
    assert min(ran, refused) > 0.1 * n
