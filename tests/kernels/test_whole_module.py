"""Kernels are compiled as whole modules, in processes that compile nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from glmq_kernels.jit import isa
from glmq_kernels.jit.compilation import compiler_environment

COUNT = """
import json, sys
from glmq_kernels.jit import isa
from glmq_kernels.jit.compile import compile_module
from numba.core import codegen

told = {"machine code": 0, "optimized": [], "defined": []}

def optimize(library, optimized=codegen.CPUCodeLibrary._optimize_final_module):
    told["optimized"].append(library.name)
    optimized(library)

def emit(*_):
    told["machine code"] += 1

with isa.forced(isa.from_json(sys.argv[1])):
    compile_module("strings.kernel.walk")  # with what Numba prepares for the first
    codegen.CPUCodeLibrary._optimize_final_module = optimize
    codegen.JITCodeLibrary._finalize_specific = emit
    module = compile_module(sys.argv[2])
told["defined"] = [function.name for function in module.functions if not function.is_declaration]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    """What is done for a kernel of some twenty functions."""
    level = isa.current()
    command = [sys.executable, "-c", COUNT, json.dumps(asdict(level)), "gemm.gemv.dot_rows:Q4_0"]
    done = subprocess.run(command, env=compiler_environment(level), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_kernel_is_optimized_once_with_all_that_it_calls(told):
    assert len(told["optimized"]) == 1
    assert told["optimized"][0].startswith("rows_kernel")  # which `dot_rows` is for one type


def test_numba_makes_no_machine_code_of_its_parts(told):
    assert told["machine code"] == 0


def test_all_that_it_calls_is_merged_into_it(told):
    assert "glmq_kernel" in told["defined"]
    assert len(told["defined"]) == 2  # the kernel, and its C function
