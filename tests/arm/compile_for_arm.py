"""Runs a compiler process of this machine (`glmq_kernels/jit/compile.py`) for a level of 64-bit Arm.

python tests/arm/compile_for_arm.py LEVEL   LEVEL: an `Isa` of the emulated machine as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "kernels")]

from glmq_kernels.jit import isa  # noqa: E402
from glmq_kernels.jit.compilation import compiler_environment  # noqa: E402

os.environ.pop("PYTHONPATH", None)
level = replace(isa.from_json(sys.argv[1]), triple="aarch64-unknown-linux-gnu")
command = [sys.executable, "-m", "glmq_kernels.jit.compile", json.dumps(asdict(level))]
os.execve(command[0], command, compiler_environment(level))
