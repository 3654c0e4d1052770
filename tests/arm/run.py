"""Runs tests on an emulated 64-bit Arm machine (`machine.py`).

python tests/arm/run.py           kernels of all kinds, the thread pool, disk reads, a whole model, and that
                                  with kernels compiled by Numba on that machine; an hour of two cores
python tests/arm/run.py --brief   two minutes of it; only tells so where there can be no such machine
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import SOURCES, Unavailable, arm_python, environment

PRODUCTS = (
    "Q4_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4", "Q2_K", "Q4_K", "Q6_K", "IQ4_XS", "IQ3_S", "IQ1_M", "TQ1_0",
    "F16", "BF16",
)  # fmt: skip
"""A tensor type of each kind of unpacking."""

BRIEF = (
    (
        "tests/kernels/test_thread_pool.py tests/kernels/test_matmul.py",
        "any_number_of_threads or equals and i8mm and Q4_0",
    ),
)
THOROUGH = (
    ("tests/kernels/test_thread_pool.py tests/kernels/test_disk_reader.py", ""),
    ("tests/kernels/test_matmul.py", " or ".join(PRODUCTS)),
    ("tests/kernels/test_feed_forward.py tests/kernels/test_norm.py tests/kernels/test_routing.py", ""),
    ("tests/kernels/test_attention.py tests/kernels/test_heads.py tests/kernels/test_not_finite.py", ""),
    ("tests/kernels/test_quantize.py tests/kernels/test_outputs.py", ""),
)
"""Files of tests, and which of them."""

WITH_SLOW = (("tests/kernels/test_transcoding.py", "last_bit or every_level"),)
"""The same where tests that are marked as slow count too."""

LEVELS = ("i8mm", "neon", "generic")
TOLERANCE = {"f32": 1e-3, "int8": 0.15}
"""How far logits may be from those of this machine, by the form of activations: sums have another order."""


def check_kernels(python: Path, suites: tuple[tuple[str, str], ...], slow: bool = False) -> None:
    """Run tests of kernels."""
    for files, chosen in suites:
        print(f"64-bit Arm: {files} {chosen}", flush=True)
        options = ["-q", "-x", "-p", "no:cacheprovider", *(["-k", chosen] if chosen else [])]
        options += ["-m", "slow or not slow" if slow else "not slow"]
        subprocess.run(
            [python, "-m", "pytest", *options, *files.split()], check=True, cwd=SOURCES, env=environment()
        )


def predictions(python: str | Path, variables: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """What a whole model gives, by the form of activations."""
    program = Path(__file__).with_name("whole_model.py")
    done = subprocess.run(
        [python, program], check=True, stdout=subprocess.PIPE, text=True, cwd=SOURCES, env=variables
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return {form: np.array(logits) for form, logits in told.items()}


def check_whole_model(python: Path, levels: tuple[str, ...], jit: bool = False) -> None:
    """Compare what a whole model gives there and here."""
    wanted = predictions(sys.executable)
    for level in levels:
        found = predictions(python, environment(jit) | {"GLMQ_ISA": level})
        for form, logits in found.items():
            worst = np.abs(logits - wanted[form]).max()
            made = "compiled there" if jit else "compiled here"
            print(f"64-bit Arm: {level}, kernels {made}, {form}: logits differ by {worst:.4f}", flush=True)
            if not worst < TOLERANCE[form]:
                raise SystemExit(f"logits may differ by {TOLERANCE[form]}")


def main() -> None:
    """Run all, or what the command line asks for."""
    brief = "--brief" in sys.argv[1:]
    try:
        python = arm_python()
    except Unavailable as error:
        print(f"64-bit Arm is not tested: the emulated machine {error}")
        raise SystemExit(0 if brief else 1) from None
    check_kernels(python, BRIEF if brief else THOROUGH)
    if not brief:
        check_kernels(python, WITH_SLOW, slow=True)
        check_whole_model(python, LEVELS)
        check_whole_model(python, LEVELS[:1], jit=True)


if __name__ == "__main__":
    main()
