"""Which instructions the processor has, as the system tells, without a code generator that knows it."""

from __future__ import annotations

import functools
from pathlib import Path

_TOLD_AS = {
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "avx_vnni": "avxvnni",
    "avx512_vnni": "avx512vnni",
    "avx512_bf16": "avx512bf16",
}
"""Linux's names of features of x86-64 where LLVM has others."""


@functools.cache
def processor_features(told: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Features of an x86-64 processor by LLVM's names, without those that the system does not let be used.

    Empty where the system is not Linux.
    """
    try:
        lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return frozenset(_TOLD_AS.get(flag, flag) for flag in flags.split())
