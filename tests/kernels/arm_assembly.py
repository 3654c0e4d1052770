"""Prints kernels' instructions for 64-bit Arm, one JSON object: {kernel: [instruction, ..]}.

python tests/kernels/arm_assembly.py KERNEL ..   Run by test_arm.py in a process of its own.
"""

from __future__ import annotations

import json
import re
import sys

import llvmlite.binding as llvm
from glmq_kernels.jit import isa

TRIPLE = "aarch64-unknown-linux-gnu"


def instructions(name):
    from glmq_kernels.jit.compile import compile_module
    from glmq_kernels.simd.vectors import FOREIGN_PREFIX

    machine = isa.target_machine(isa.NEON, TRIPLE)
    text = str(compile_module(name)).replace(FOREIGN_PREFIX, "")
    text = re.sub('target triple = ".*"', f'target triple = "{TRIPLE}"', text)
    text = re.sub('target datalayout = ".*"', f'target datalayout = "{machine.target_data}"', text)
    assembly = machine.emit_assembly(llvm.parse_assembly(text))
    lines = [line.split("//")[0].strip() for line in assembly.splitlines() if line.startswith("\t")]
    return [line.replace("\t", " ") for line in lines if line and not line.startswith(".")]


def main():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.set_option("glmq", "-enable-misched=false")
    isa.current = lambda: isa.NEON
    print(json.dumps({name: instructions(name) for name in sys.argv[1:]}))


if __name__ == "__main__":
    main()
