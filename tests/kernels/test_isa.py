"""Levels of instructions: what a machine has not is neither asked for nor taken for granted."""

from __future__ import annotations

from dataclasses import replace

import llvmlite.binding as llvm
import pytest
from glmq_kernels.jit import isa
from glmq_kernels.jit.isa import AMX_NEEDS, AVX2_NEEDS, AVX512_NEEDS, AVXVNNI_NEEDS, levels_of

FEATURES = sorted({*AVX512_NEEDS, *AVXVNNI_NEEDS, "avx512bf16", "avx512vbmi", "gfni", "sha", "xsave", "sse2"})
ON_X86 = llvm.get_default_triple().startswith("x86_64")


def features(*, off=()):
    """The table of a machine that has everything but `off`."""
    return {name: name not in off for name in FEATURES}


def names(level):
    """Features that a level switches on, and off."""
    parts = level.features.split(",") if level.features else []
    return {part[1:] for part in parts if part[0] == "+"}, {part[1:] for part in parts if part[0] == "-"}


def test_a_machine_with_everything_has_every_level():
    assert list(levels_of("znver5", features(), "x86_64")) == ["avx512", "avxvnni", "avx2", "generic"]


@pytest.mark.parametrize("missing", AVX2_NEEDS)
def test_avx2_needs_all_that_the_code_generator_takes_for_granted_with_it(missing):
    found = levels_of("znver5", features(off=(missing,)), "amd64")
    assert not {"avx2", "avxvnni"} & {*found}


@pytest.mark.parametrize("missing", ("avxvnni", "avx512vnni"))
def test_vnni_is_not_implied(missing):
    found = levels_of("sapphirerapids", features(off=(missing,)), "x86_64")
    assert ("avxvnni" in found) == (missing != "avxvnni")
    assert ("avx512" in found) == (missing != "avx512vnni")
    assert "avx2" in found


@pytest.mark.parametrize("missing", AVX512_NEEDS)
def test_avx512_needs_all_that_its_kernels_use(missing):
    assert "avx512" not in levels_of("znver5", features(off=(missing,)), "x86_64")


@pytest.mark.parametrize("missing", FEATURES)
def test_what_is_masked_is_switched_off_at_every_level(missing):
    for level in levels_of("znver5", features(off=(missing,)), "x86_64").values():
        on, off = names(level)
        assert missing not in on
        assert missing in off or level.name == "generic"


def test_what_is_switched_off_comes_last():
    table = features(off=("avx512vbmi", "gfni", "sha"))
    for level in levels_of("znver5", table, "x86_64").values():
        signs = [part[0] for part in level.features.split(",") if part]
        assert signs == sorted(signs), "+ sorts before -"


def test_optional_parts_of_avx512_are_used_where_they_are():
    found = levels_of("znver5", features(off=("avx512bf16", "avx512vbmi")), "x86_64")["avx512"]
    assert (found.bfloat, found.bit_shuffle) == (False, False)
    found = levels_of("znver5", features(), "x86_64")["avx512"]
    assert (found.bfloat, found.bit_shuffle) == (True, True)


@pytest.mark.parametrize("missing", ("", *AMX_NEEDS, "avx512bw"))
def test_amx_is_avx512_with_other_products_where_all_that_it_needs_is_there(missing):
    have = {name: name != missing for name in (*FEATURES, *AMX_NEEDS)}
    found = levels_of("sapphirerapids", have, "x86_64")
    assert ("amx" in found) == (not missing)
    if not missing:
        assert next(iter(found)) == "amx"
        assert replace(found["amx"], name="avx512", tile=found["avx512"].tile, amx=False) == found["avx512"]


@pytest.mark.parametrize(
    ("machine", "cpu"), (("x86_64", "x86-64"), ("aarch64", "generic"), ("arm64", "generic"))
)
def test_generic_is_what_every_machine_of_its_kind_can_run(machine, cpu):
    table = features() | {"neon": True, "dotprod": True}
    level = levels_of("the-newest", table, machine)["generic"]
    assert (level.cpu, level.features, level.shuffle, level.half) == (cpu, "", "", False)


ARM_LEVELS = {"neon": ("neon", "lse", "dotprod"), "i8mm": ("neon", "lse", "dotprod", "i8mm", "bf16")}


def test_arm_without_dot_products_is_generic():
    assert list(levels_of("cortex-a72", {"neon": True, "lse": False}, "aarch64")) == ["generic"]


@pytest.mark.parametrize("best", ARM_LEVELS)
def test_levels_of_arm_are_the_same_on_all_its_processors(best):
    have = dict.fromkeys(ARM_LEVELS[best], True)
    found = levels_of("the-newest", have, "arm64")
    assert next(iter(found)) == best
    assert found == levels_of("another", have, "aarch64")
    assert names(found[best])[0] == set(ARM_LEVELS[best])


def test_tables_of_one_kind_of_machine_do_not_serve_another():
    assert list(levels_of("x", features(), "aarch64")) == ["generic"]
    assert list(levels_of("x", features(), "riscv64")) == ["generic"]


SHIFT_AND_COUNT = """
declare i64 @llvm.ctlz.i64(i64, i1)
define i64 @f(i64 %a, i64 %b) {
  %shifted = shl i64 %a, %b
  %zeros = call i64 @llvm.ctlz.i64(i64 %b, i1 false)
  %sum = add i64 %shifted, %zeros
  ret i64 %sum
}
"""


def assembly(level):
    machine = isa.target_machine(replace(level, triple="x86_64-unknown-linux-gnu"))
    return machine.emit_assembly(llvm.parse_assembly(SHIFT_AND_COUNT))


@pytest.mark.skipif(not ON_X86, reason="needs LLVM's x86 code generator")
def test_the_machine_code_has_no_masked_instructions_whatever_the_processor_is_called():
    code = assembly(levels_of("znver4", features(), "x86_64")["avx512"])
    assert "shlx" in code and "lzcnt" in code
    code = assembly(levels_of("znver4", features(off=("bmi2", "lzcnt")), "x86_64")["avx512"])
    assert "shlx" not in code and "lzcnt" not in code


@pytest.mark.skipif(not ON_X86, reason="needs LLVM's x86 code generator")
def test_the_machine_code_of_generic_is_baseline():
    code = assembly(levels_of("znver4", features(), "x86_64")["generic"])
    assert "shlx" not in code and "lzcnt" not in code


@pytest.mark.skipif(not ON_X86, reason="needs LLVM's x86 code generator")
def test_every_feature_is_one_that_the_code_generator_knows(capfd):
    cpu, have = isa._host()
    for level in levels_of(cpu, have, "x86_64").values():
        assembly(level)
    assert "not a recognized feature" not in capfd.readouterr().err
