"""Which instructions the processor has, as the system tells, without a code generator that knows it.

x86-64 is asked on Linux only: elsewhere the code generator knows. Linux also has to be asked whether this
process may use AMX. Arm is asked wherever glmq runs: there the code generator does not tell of dot products
on any system.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Callable
from pathlib import Path

X86 = ("x86_64", "amd64")
ARM = ("arm64", "aarch64")
"""What `platform.machine` says, in small letters."""

_TOLD_AS = {
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "avx_vnni": "avxvnni",
    "avx512_vnni": "avx512vnni",
    "avx512_bf16": "avx512bf16",
    "amx_tile": "amx-tile",
    "amx_bf16": "amx-bf16",
}
"""Linux's names of features of x86-64 where LLVM has others."""

_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
"""Number of the system call, of what is asked of it, and of the state that AMX's registers are.

Source: Linux, Documentation/arch/x86/xstate.rst.
"""

_HWCAP, _HWCAP2 = 16, 26
_ARM_BITS = {
    "neon": (_HWCAP, 1), "lse": (_HWCAP, 8), "dotprod": (_HWCAP, 20), "i8mm": (_HWCAP2, 13),
    "bf16": (_HWCAP2, 14),
}  # fmt: skip
"""Where Linux tells of features of 64-bit Arm: entry of the auxiliary vector, and bit.

Source: Linux, Documentation/arch/arm64/elf_hwcaps.rst, and its header uapi/asm/hwcap.h.
"""
_ARM_NAMES_ON_MACOS = {
    "neon": "AdvSIMD", "lse": "arm.FEAT_LSE", "dotprod": "arm.FEAT_DotProd", "i8mm": "arm.FEAT_I8MM",
    "bf16": "arm.FEAT_BF16",
}  # fmt: skip
"""What macOS calls them, below hw.optional. Source: Apple, "Determining Instruction Set Characteristics"."""


@functools.cache
def processor_features() -> frozenset[str]:
    """Features of the processor by LLVM's names, without those that the system does not let be used.

    Empty where the system is not asked. Of Arm's there are those that kernels may use.
    """
    if platform.machine().lower() in ARM:
        if sys.platform == "linux":
            return arm_features_on_linux(_auxiliary_value)
        return arm_features_on_macos(_system_value) if sys.platform == "darwin" else frozenset()
    found = x86_features(Path("/proc/cpuinfo"))
    return found if may_use_amx() else found - {"amx-tile"}


@functools.cache
def may_use_amx() -> bool:
    """Whether this process may use AMX's registers: Linux is asked for it, and then lets all its threads.

    A thread that uses them needs 8 KB more on the stack where a signal is handled.
    """
    if sys.platform != "linux" or platform.machine().lower() not in X86:
        return False
    return int(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)) == 0


def x86_features(told: Path) -> frozenset[str]:
    """Features of an x86-64 processor; told: what Linux tells of it."""
    try:
        lines = told.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    return frozenset(_TOLD_AS.get(flag, flag) for flag in flags.split())


def arm_features_on_linux(auxiliary_value: Callable[[int], int]) -> frozenset[str]:
    """Features of a 64-bit Arm processor; auxiliary_value: gives entries of the auxiliary vector."""
    return frozenset(name for name, (entry, bit) in _ARM_BITS.items() if auxiliary_value(entry) >> bit & 1)


def arm_features_on_macos(system_value: Callable[[str], int]) -> frozenset[str]:
    """Features of Apple's processors; system_value: gives the system's numbers by name, else 0."""
    return frozenset(
        name for name, told in _ARM_NAMES_ON_MACOS.items() if system_value(f"hw.optional.{told}")
    )


def _auxiliary_value(entry: int) -> int:
    function = ctypes.CDLL(None).getauxval
    function.argtypes, function.restype = [ctypes.c_ulong], ctypes.c_ulong
    return int(function(entry))


def _system_value(name: str) -> int:
    found, size = ctypes.c_int(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    ask = ctypes.CDLL(None).sysctlbyname
    failed = ask(name.encode(), ctypes.byref(found), ctypes.byref(size), None, ctypes.c_size_t(0))
    return 0 if failed else found.value
