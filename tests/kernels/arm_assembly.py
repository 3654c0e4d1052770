"""Prints kernels' instructions for 64-bit Arm, one JSON object: {kernel: [instruction, ..]}.

python tests/kernels/arm_assembly.py LEVEL KERNEL ..   LEVEL: an `Isa` as JSON. Run by test_arm.py in a
process of its own.
"""

from __future__ import annotations

import json
import sys

import llvmlite.binding as llvm
from glmq_kernels.jit import isa


def instructions(name):
    from glmq_kernels.jit.compile import compile_module

    assembly = isa.target_machine(isa.current()).emit_assembly(compile_module(name))
    lines = [line.split("//")[0].strip() for line in assembly.splitlines() if line.startswith("\t")]
    return [line.replace("\t", " ") for line in lines if line and not line.startswith(".")]


def main():
    llvm.set_option("glmq", "-enable-misched=false")
    with isa.forced(isa.from_json(sys.argv[1])):
        print(json.dumps({name: instructions(name) for name in sys.argv[2:]}))


if __name__ == "__main__":
    main()
