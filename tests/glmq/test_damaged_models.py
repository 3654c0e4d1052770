"""Random damage to a model file: it is refused with one line or it runs; the process never dies or hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .small_models import write_deepseek2, write_glm4moe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("write", "n"),
    [
        (write_glm4moe, 200),
        (write_deepseek2, 100),
        pytest.param(write_glm4moe, 700, marks=pytest.mark.slow),
        pytest.param(write_deepseek2, 300, marks=pytest.mark.slow),
    ],
)
def test_damaged_models_are_refused_or_run(write, n, tmp_path):
    model = write(tmp_path / "small.gguf", "Q8_0")
    folders = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "convert")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.glmq.run_damaged", str(model), str(tmp_path), str(n)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused, ran = map(int, done.stdout.split())
    assert refused + ran == n
    assert min(refused, ran) > 0.1 * n
