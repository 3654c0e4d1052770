"""What the system tells of the processor's instructions."""

from __future__ import annotations

import platform
import sys

import pytest
from glmq_kernels.machine.instructions import (
    ARM,
    arm_features_on_linux,
    arm_features_on_macos,
    processor_features,
    x86_features,
)

HWCAP, HWCAP2 = 16, 26
CORTEX_A72 = {HWCAP: 0x8FB, HWCAP2: 0}
NEOVERSE_N1 = {HWCAP: 0x119FFB, HWCAP2: 0}
EVERYTHING = {HWCAP: 0xECFFFFFB, HWCAP2: 0x7F877FFF}
"""Auxiliary vectors of processors that QEMU 7.2 emulates; the last is its `max`."""


def test_features_of_x86_are_told_by_other_names(tmp_path):
    (tmp_path / "cpuinfo").write_text("flags\t\t: pni sse4_1 abm bmi1 avx512_vnni\nflags : other\n")
    found = x86_features(tmp_path / "cpuinfo")
    assert found == {"sse3", "sse4.1", "lzcnt", "bmi", "avx512vnni"}
    assert x86_features(tmp_path / "none") == frozenset()


@pytest.mark.parametrize(
    ("told", "features"),
    (
        (CORTEX_A72, {"neon"}),
        (NEOVERSE_N1, {"neon", "lse", "dotprod"}),
        (EVERYTHING, {"neon", "lse", "dotprod", "i8mm", "bf16"}),
    ),
    ids=("cortex-a72", "neoverse-n1", "max"),
)
def test_linux_tells_of_arm_in_bits(told, features):
    assert arm_features_on_linux(told.__getitem__) == features


def test_macos_tells_of_arm_by_names():
    m1 = {"hw.optional.AdvSIMD": 1, "hw.optional.arm.FEAT_LSE": 1, "hw.optional.arm.FEAT_DotProd": 1}
    m2 = m1 | {"hw.optional.arm.FEAT_I8MM": 1, "hw.optional.arm.FEAT_BF16": 1}
    assert arm_features_on_macos(lambda name: m1.get(name, 0)) == {"neon", "lse", "dotprod"}
    assert arm_features_on_macos(lambda name: m2.get(name, 0)) == {"neon", "lse", "dotprod", "i8mm", "bf16"}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_this_machine_tells_what_every_one_of_its_kind_has():
    always = "neon" if platform.machine().lower() in ARM else "sse2"
    assert always in processor_features()
