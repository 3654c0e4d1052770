"""The kernels for 64-bit Arm, which this machine cannot run: their machine code is made and looked at."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from glmq_kernels.jit import isa
from glmq_kernels.jit.compilation import compiler_environment
from glmq_kernels.machine.instructions import ARM

NEEDED = {
    "gemm.gemv.dot_rows:Q4_K": {"sdot", "fmla", "ushr"},
    "gemm.gemv.dot_rows:Q8_0": {"sdot", "fmla", "fcvtl"},
    "gemm.gemv.dot_rows:IQ4_XS": {"sdot", "fmla", "tbl"},
    "gemm.gemv.dot_rows:IQ2_XXS": {"sdot", "fmla"},
    "gemm.gemm.multiply:Q6_K": {"sdot", "fmla", "zip1"},
    "gemm.gemm.multiply:F16": {"fmla", "fcvtl"},
    "ops.attention.kernel.attend:4:64:64:Q8_0:apart": {"fmla", "scvtf"},
    "ops.attention.kernel.attend:4:64:32:F16:in_keys": {"fmla", "fcvtl"},
    "ops.norm.kernel.rms": {"fmla"},
}
"""Instructions that each kernel must contain on the level `neon`."""

NEEDED_WITH_MATRICES = {
    "gemm.gemm.multiply:BF16": {"bfdot"},
    "gemm.gemm.multiply:Q5_K": {"smmla", "fmla"},
}
"""The same on the level `i8mm`."""

FORBIDDEN = ("bl __", "bl exp", "bl fma", "bl mem")
"""Calls of the compiler's helpers or the mathematical library, which a missing instruction would bring."""


@pytest.fixture(scope="module")
def kernels():
    return assembly(isa.NEON, NEEDED)


@pytest.fixture(scope="module")
def kernels_with_matrices():
    return assembly(isa.I8MM, NEEDED_WITH_MATRICES)


def assembly(level, names):
    """Instructions of kernels by their names."""
    if platform.machine().lower() in ARM:
        pytest.skip("this is an Arm machine: the other tests run these kernels")
    level = replace(level, triple="aarch64-unknown-linux-gnu")
    program = Path(__file__).with_name("arm_assembly.py")
    done = subprocess.run(
        [sys.executable, program, json.dumps(asdict(level)), *names],
        capture_output=True, text=True, env=compiler_environment(level),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", NEEDED)
def test_has_the_instructions_that_make_it_fast(kernels, name):
    check(kernels[name], NEEDED[name])


@pytest.mark.parametrize("name", NEEDED_WITH_MATRICES)
def test_multiplies_matrices_where_the_processor_does(kernels_with_matrices, name):
    check(kernels_with_matrices[name], NEEDED_WITH_MATRICES[name])


def check(lines, needed):
    assert {line.split()[0] for line in lines} >= needed
    assert not [line for line in lines if line.startswith(FORBIDDEN)]


@pytest.mark.parametrize("name", [name for name in NEEDED if ".gemv." in name])
def test_decoding_keeps_its_sums_in_registers(kernels, name):
    """Few stores beside dot products: weights stay in registers, sums of tokens are stored."""
    found = Counter(line.split()[0] for line in kernels[name])
    assert found["str"] + found["stp"] < found["sdot"] + 80


@pytest.mark.parametrize("type_name", ("Q8_0", "IQ4_XS"))
def test_eight_bit_weights_are_multiplied_once(kernels, type_name):
    """As signed bytes: 256 of them are 16 vectors."""
    found = Counter(line.split()[0] for line in kernels[f"gemm.gemv.dot_rows:{type_name}"])
    assert found["sdot"] == 16
