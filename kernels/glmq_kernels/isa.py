"""Which instructions the kernels may use: found once, forced lower with `GLMQ_ISA`."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from typing import Any

from .errors import UserError


@dataclass(frozen=True)
class Isa:
    """One level of instructions.

    `dot` names the int8 dot product (`vnni`, `maddubs` or `generic`), `half` says whether the CPU
    converts float16 by itself. A matrix product of many tokens works on `panels` times 16 weight rows
    and `tile` tokens at once, as many as the registers hold. `cpu` and `features` go to the code generator.
    """

    name: str
    cpu: str
    features: str
    dot: str
    half: bool
    panels: int
    tile: int


AVX512_NEEDS = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "f16c", "fma")
AVX2_NEEDS = ("avx2", "fma", "f16c")
LEVELS = ("avx512", "avx2", "generic")


def _host() -> tuple[str, dict[str, bool]]:
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features())


@functools.cache
def levels() -> dict[str, Isa]:
    """Every level this machine can run, best first."""
    cpu, have = _host()
    host_features = ",".join(f"+{name}" for name, on in sorted(have.items()) if on)
    found: dict[str, Isa] = {}
    if all(have.get(name) for name in AVX512_NEEDS):
        found["avx512"] = Isa("avx512", cpu, host_features, "vnni", True, 2, 6)
    if all(have.get(name) for name in AVX2_NEEDS):
        found["avx2"] = Isa("avx2", "x86-64-v3", "+avx2,+fma,+f16c,+bmi2,+popcnt", "maddubs", True, 1, 4)
    if platform.machine().lower() in ("x86_64", "amd64"):
        found["generic"] = Isa("generic", "x86-64", "", "generic", False, 1, 4)
    else:
        found["generic"] = Isa("generic", cpu, host_features, "generic", False, 1, 4)
    return found


def current() -> Isa:
    """The level in use: the best of the machine, or the one that `GLMQ_ISA` names."""
    found = levels()
    wanted = os.environ.get("GLMQ_ISA", "").strip().lower()
    if not wanted:
        return next(iter(found.values()))
    if wanted not in LEVELS:
        raise UserError(f"GLMQ_ISA={wanted} is not known; choose one of {', '.join(LEVELS)}")
    if wanted not in found:
        raise UserError(f"GLMQ_ISA={wanted} needs instructions this CPU lacks; it can run {', '.join(found)}")
    return found[wanted]


@functools.cache
def _initialize_code_generator() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def target_machine(level: Isa) -> Any:
    """LLVM's code generator for a level of instructions (an llvmlite TargetMachine)."""
    import llvmlite.binding as llvm

    _initialize_code_generator()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=level.cpu, features=level.features, opt=3, reloc="pic", codemodel="jitdefault", jit=True
    )
