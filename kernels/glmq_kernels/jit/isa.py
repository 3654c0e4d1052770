"""Which instructions the kernels may use: found once, forced lower with `GLMQ_ISA`."""

from __future__ import annotations

import functools
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..errors import GlmqError
from ..machine.instructions import ARM, X86, may_use_amx, processor_features
from .compiler_presence import can_compile, cannot_compile


@dataclass(frozen=True)
class Isa:
    """One level of instructions.

    dot             the int8 dot product: `vnni`, `maddubs`, `sdot` or `generic`
    dot_lanes       most 32-bit lanes that its instruction takes at once
    matrix          whether the CPU multiplies matrices of 2 x 8 and 8 x 2 bytes (Arm's `smmla`)
    shuffle         the byte shuffle: `avx512`, `avx2`, `neon` or `` for none
    bias            added to the bytes of activations in tiles, where they are the unsigned factor
    half            whether the CPU converts float16 by itself
    bfloat          whether the CPU multiplies bfloat16 (AVX-512, Arm)
    bit_shuffle     whether the CPU has AVX-512's shuffles of bits (VBMI)
    amx             whether the CPU multiplies matrices of bfloat16 in registers for them (AMX)
    panels, tile    a matrix product of many tokens works on `panels` times 16 weight rows and `tile`
                    tokens at once, as many as the registers hold
    triple          another machine's, by LLVM's name, for which code is made here; empty: this one's
    attention_rows, attention_vectors
                    query rows that attention works on at once (sizes to choose from), and vectors of 16
                    positions, as many as the registers hold
    cpu, features   go to the code generator
    """

    name: str
    cpu: str
    features: str
    dot: str
    dot_lanes: int
    shuffle: str
    bias: int
    half: bool
    panels: int
    tile: int
    attention_rows: tuple[int, ...] = (4,)
    attention_vectors: int = 1
    bfloat: bool = False
    bit_shuffle: bool = False
    matrix: bool = False
    amx: bool = False
    triple: str = ""

    @property
    def is_x86(self) -> bool:
        """Whether it is one of x86-64."""
        return not self.triple and platform.machine().lower() in X86

    @property
    def is_arm(self) -> bool:
        """Whether it is one of 64-bit Arm."""
        return self.triple.startswith("aarch64") or (not self.triple and platform.machine().lower() in ARM)


def from_json(text: str) -> Isa:
    """A level from a JSON object of its fields."""
    fields = json.loads(text)
    return Isa(**fields | {"attention_rows": tuple(fields["attention_rows"])})


_SSE = ("sse3", "ssse3", "sse4.1", "sse4.2")
AVX2_NEEDS = (*_SSE, "avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "popcnt")
"""x86-64-v3: what the code generator takes for granted with it."""
AVXVNNI_NEEDS = (*AVX2_NEEDS, "avxvnni")
AVX512_NEEDS = (
    *_SSE, "avx", "avx2", "f16c", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni"
)  # fmt: skip
AMX_NEEDS = ("avx512bf16", "amx-tile", "amx-bf16")
"""Beside all of AVX-512's."""
AMX_TILE = 16
"""Tokens that AMX multiplies at once."""
NEON_NEEDS = ("neon", "lse", "dotprod")
I8MM_NEEDS = (*NEON_NEEDS, "i8mm", "bf16")
LEVELS = ("amx", "avx512", "avxvnni", "avx2", "i8mm", "neon", "generic")

NEON = Isa("neon", "generic", "+dotprod,+lse,+neon", "sdot", 4, "neon", 0, True, 1, 4)
"""64-bit Arm since Armv8.2: Apple's processors, Neoverse, Cortex-A75 and later."""
I8MM = replace(NEON, name="i8mm", features="+bf16,+dotprod,+i8mm,+lse,+neon", matrix=True, bfloat=True)
"""64-bit Arm since Armv8.6: Apple's since the M2, Neoverse V1 and N2, Cortex-A510 and later."""

FOREIGN_PREFIX = "foreign."
"""Before the names of another machine's intrinsics, to be taken off in the finished module's text."""


def _host() -> tuple[str, dict[str, bool]]:
    if not can_compile():
        raise cannot_compile("kernels must be compiled")
    import llvmlite.binding as llvm

    have = dict(llvm.get_host_cpu_features())
    if have.get("amx-tile"):
        have["amx-tile"] = may_use_amx()
    return llvm.get_host_cpu_name(), have


@functools.cache
def levels() -> dict[str, Isa]:
    """Every level this machine can run, best first."""
    cpu, have = _host()
    machine = platform.machine().lower()
    return levels_of(cpu, dict.fromkeys(processor_features(), True) if machine in ARM else have, machine)


def levels_of(cpu: str, have: Mapping[str, bool], machine: str) -> dict[str, Isa]:
    """Every level that a processor can run, best first.

    cpu: LLVM's name of it. have: whether it, and the system, have each feature. machine: as
    `platform.machine` says, in small letters. Arm's levels are the same for all its processors.
    """
    found: dict[str, Isa] = {}
    every = _features(have, [name for name, on in have.items() if on])
    if machine in X86:
        if _has(have, AVX512_NEEDS):
            avx512 = Isa(
                "avx512", cpu, every, "vnni", 16, "avx512", 128, True, 2, 6, (4, 8, 12), 2,
                bfloat=bool(have.get("avx512bf16")), bit_shuffle=bool(have.get("avx512vbmi")),
            )  # fmt: skip
            if _has(have, AMX_NEEDS):
                found["amx"] = replace(avx512, name="amx", tile=AMX_TILE, amx=True)
            found["avx512"] = avx512
        if _has(have, AVXVNNI_NEEDS):
            features = _features(have, AVXVNNI_NEEDS)
            found["avxvnni"] = Isa("avxvnni", "x86-64-v3", features, "vnni", 8, "avx2", 0, True, 1, 4, (4, 6))
        if _has(have, AVX2_NEEDS):
            features = _features(have, AVX2_NEEDS)
            found["avx2"] = Isa("avx2", "x86-64-v3", features, "maddubs", 8, "avx2", 0, True, 1, 4, (4, 6))
        found["generic"] = Isa("generic", "x86-64", "", "generic", 16, "", 0, False, 1, 4)
    elif machine in ARM:
        if _has(have, I8MM_NEEDS):
            found["i8mm"] = I8MM
        if _has(have, NEON_NEEDS):
            found["neon"] = NEON
        found["generic"] = Isa("generic", "generic", "", "generic", 16, "", 0, False, 1, 4)
    else:
        found["generic"] = Isa("generic", cpu, every, "generic", 16, "", 0, False, 1, 4)
    return found


def _has(have: Mapping[str, bool], needs: Sequence[str]) -> bool:
    return all(have.get(name, False) for name in needs)


def _features(have: Mapping[str, bool], wanted: Iterable[str]) -> str:
    """Features for the code generator: those wanted, and without all that the processor has not.

    A processor's name stands for everything of its kind, also for what a hypervisor or the system hides. The
    code generator goes from left to right and lets a feature that is switched on bring those it stands on,
    so what is switched off comes last.
    """
    on = [f"+{name}" for name in sorted(wanted)]
    return ",".join([*on, *(f"-{name}" for name in sorted(have) if not have[name])])


def current() -> Isa:
    """The level in use: the best of the machine, or the one that `GLMQ_ISA` names, unless one is forced."""
    if _forced:
        return _forced[-1]
    found = levels()
    wanted = os.environ.get("GLMQ_ISA", "").strip().lower()
    if not wanted:
        return next(iter(found.values()))
    if wanted not in LEVELS:
        raise GlmqError(f"GLMQ_ISA={wanted} is not known; choose one of {', '.join(LEVELS)}")
    if wanted not in found:
        raise GlmqError(f"GLMQ_ISA={wanted} needs instructions this CPU lacks; it can run {', '.join(found)}")
    return found[wanted]


def force(level: Isa) -> None:
    """Have `current` give a level from now on: the one of kernels compiled ahead."""
    _forced.append(level)


@contextmanager
def forced(level: Isa) -> Iterator[None]:
    """Have `current` give a level meanwhile, to compile for it; this machine need not be able to run it."""
    force(level)
    try:
        yield
    finally:
        _forced.pop()


_forced: list[Isa] = []


@functools.cache
def _initialize_code_generator() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


@functools.cache
def _initialize_all_code_generators() -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def target_machine(level: Isa) -> Any:
    """LLVM's code generator for a level of instructions (an llvmlite TargetMachine)."""
    import llvmlite.binding as llvm

    _initialize_code_generator()
    if level.triple:
        _initialize_all_code_generators()
        target = llvm.Target.from_triple(level.triple)
    else:
        target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=level.cpu, features=level.features, opt=3, reloc="pic", codemodel="jitdefault", jit=True
    )
