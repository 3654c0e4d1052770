"""Levels of instructions for any processor that has them, to compile kernels ahead for.

The levels of `isa.py` are for this machine: they switch off what it has not. Here they stand for every
processor with the features that they need, and for no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import GlmqError
from ..machine.instructions import processor_features
from .isa import AMX_NEEDS, AMX_TILE, AVX2_NEEDS, AVX512_NEEDS, AVXVNNI_NEEDS, Isa

_V4_NEEDS = tuple(dict.fromkeys((*AVX2_NEEDS, *AVX512_NEEDS, "avx512cd")))
"""x86-64-v4 with the int8 dot product."""
_MORE = ("avx512bf16", "avx512vbmi")


@dataclass(frozen=True)
class PortableLevel:
    """A level of instructions, and the features without which it cannot run, by LLVM's names."""

    isa: Isa
    needs: tuple[str, ...]


def _level(isa: Isa, needs: Sequence[str], *, without: str = "") -> PortableLevel:
    features = [f"+{name}" for name in sorted(needs)]
    return PortableLevel(replace(isa, features=",".join([*features, *without.split()])), tuple(needs))


_AVX512 = Isa("avx512", "x86-64-v4", "", "vnni", 16, "avx512", 128, True, 2, 6, (4, 8, 12), 2)
_AVX512_BF16 = replace(_AVX512, bfloat=True, bit_shuffle=True)
_NARROW = "-prefer-256-bit"
"""The code generator takes the first processors with AVX-512 for slower with its whole width."""

PORTABLE = {
    "amx": _level(
        replace(_AVX512_BF16, name="amx", tile=AMX_TILE, amx=True),
        tuple(dict.fromkeys((*_V4_NEEDS, *_MORE, *AMX_NEEDS))),
        without=_NARROW,
    ),
    "avx512bf16": _level(_AVX512_BF16, (*_V4_NEEDS, *_MORE), without=_NARROW),
    "avx512": _level(_AVX512, _V4_NEEDS, without=_NARROW),
    "avxvnni": _level(
        Isa("avxvnni", "x86-64-v3", "", "vnni", 8, "avx2", 0, True, 1, 4, (4, 6)), AVXVNNI_NEEDS
    ),
    "avx2": _level(Isa("avx2", "x86-64-v3", "", "maddubs", 8, "avx2", 0, True, 1, 4, (4, 6)), AVX2_NEEDS),
    "generic": _level(Isa("generic", "x86-64", "", "generic", 16, "", 0, False, 1, 4), ()),
}
"""By names, the best first. `amx`: Sapphire Rapids and later. `avx512bf16`: Zen 4 and later as well."""


def portable_levels(names: Sequence[str]) -> dict[str, PortableLevel]:
    """Levels by names, the best first; "auto" is the best that this machine can run, "all" are all.

    Raises GlmqError for names that are not known.
    """
    unknown = [name for name in names if name not in (*PORTABLE, "auto", "all")]
    if unknown or not names:
        raise GlmqError(
            f"instructions {unknown[0] if unknown else ''!r} are not known; choose auto, all or some of"
            f" {', '.join(PORTABLE)}",
            setting="isa",
        )
    have = processor_features()
    best = next(name for name, level in PORTABLE.items() if have.issuperset(level.needs))
    wanted = {best if name == "auto" else name for name in names}
    return {name: level for name, level in PORTABLE.items() if name in wanted or "all" in names}
