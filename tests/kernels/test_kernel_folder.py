"""Folders of kernels compiled ahead: shared libraries that the system loads, without Numba and LLVM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit import compiler_presence, isa, kernel_folder, store
from glmq_kernels.jit.kernel_folder import CONTENTS, SYSTEMS, NewLibrary, read_folder, system, write_folder
from glmq_kernels.jit.portable_levels import PORTABLE, portable_levels
from glmq_kernels.jit.shared_library import link
from glmq_kernels.machine.instructions import processor_features
from glmq_kernels.strings.string_offsets import string_offsets

pytestmark = pytest.mark.skipif(system() not in SYSTEMS, reason="kernels cannot be compiled ahead here")
WALK, TOP_K, LOCKING = "strings.kernel.walk", "ops.routing.kernel.top_k", "threads.pool_kernel.initialize"


@pytest.fixture(scope="module")
def level():
    return isa.current()


@pytest.fixture(scope="module")
def objects(level):
    return store.object_codes([WALK, TOP_K, LOCKING], level, None)


def library(level, objects, *names, needs=()):
    return NewLibrary(asdict(level), needs, {name: objects[name] for name in names})


def forget_folders(monkeypatch):
    monkeypatch.setattr(kernel_folder, "_given", {})
    monkeypatch.setattr(isa, "_forced", [])
    monkeypatch.setattr(store, "_loaded", {})


@pytest.fixture
def unused(monkeypatch):
    """A process that has no kernels yet, and cannot compile any."""
    forget_folders(monkeypatch)
    for module in (kernel_folder, store, isa):
        monkeypatch.setattr(module, "can_compile", lambda: False)
    monkeypatch.delenv("GLMQ_ISA", raising=False)


@pytest.fixture
def folder(tmp_path, level, objects):
    write_folder(tmp_path / "kernels", {"mine": library(level, objects, WALK, LOCKING)}, store.ENTRY_POINT)
    return tmp_path / "kernels"


def walk():
    data = np.frombuffer(b"\3\0\0\0\0\0\0\0abc", np.uint8).copy()
    return string_offsets(data, 0, 1).tolist()


def test_kernels_run_from_a_folder(unused, folder):
    kernel_folder.use(folder)
    assert walk() == [0, 11]


def test_a_folder_may_be_named_by_the_environment(unused, folder, monkeypatch):
    monkeypatch.setenv("GLMQ_KERNELS", str(folder))
    assert walk() == [0, 11]


def test_neither_numba_nor_llvm_is_imported_for_it(folder):
    code = (
        "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None;"
        " from glmq_kernels.jit.store import kernel;"
        f" kernel({WALK!r}); kernel({LOCKING!r}); print('loaded')"
    )
    variables = os.environ | {"PYTHONPATH": str(store.PACKAGE.parent), "GLMQ_KERNELS": str(folder)}
    variables.pop("GLMQ_ISA", None)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("loaded\n", "")


def test_what_a_folder_lacks_is_told_where_nothing_can_be_compiled(unused, folder):
    kernel_folder.use(folder)
    with pytest.raises(GlmqError, match=rf'{folder} lacks .*{TOP_K}.*pip install "numba.*glmq compile'):
        store.kernel(TOP_K)


def test_without_a_folder_the_lack_of_numba_is_told(unused):
    isa.levels.cache_clear()
    with pytest.raises(GlmqError, match="must be compiled, and Numba.*is not installed: pip install"):
        store.kernel(WALK)


def test_what_a_folder_lacks_is_compiled_where_that_is_possible(folder, monkeypatch):
    forget_folders(monkeypatch)
    kernel_folder.use(folder)
    assert store.kernel(TOP_K).address


def test_the_first_folder_decides_the_level_and_others_add_kernels_of_it(
    unused, folder, tmp_path, level, objects
):
    other = {
        "better": library(replace(level, tile=99), objects, WALK),
        "mine": library(level, objects, TOP_K),
    }
    write_folder(tmp_path / "other", other, store.ENTRY_POINT)
    kernel_folder.use(folder)
    kernel_folder.use(tmp_path / "other")
    assert isa.current() == level
    assert store.kernel(TOP_K).address and walk() == [0, 11]


@pytest.fixture
def two_levels(tmp_path, level, objects):
    libraries = {
        "avx512": library(replace(level, name="avx512"), objects, WALK, needs=("avx512f",)),
        "generic": library(replace(level, name="generic"), objects, WALK),
    }
    write_folder(tmp_path / "two", libraries, store.ENTRY_POINT)
    return tmp_path / "two"


@pytest.mark.parametrize(("features", "chosen"), (({"avx2"}, "generic"), ({"avx2", "avx512f"}, "avx512")))
def test_the_best_library_that_the_processor_can_run_is_used(
    unused, two_levels, monkeypatch, features, chosen
):
    monkeypatch.setattr(kernel_folder, "processor_features", lambda: frozenset(features))
    kernel_folder.use(two_levels)
    assert isa.current().name == chosen


def test_another_level_may_be_asked_for(unused, two_levels, monkeypatch):
    monkeypatch.setattr(kernel_folder, "processor_features", lambda: frozenset({"avx512f"}))
    monkeypatch.setenv("GLMQ_ISA", "generic")
    kernel_folder.use(two_levels)
    assert isa.current().name == "generic"


def test_a_level_that_the_folder_lacks_is_told(unused, two_levels, monkeypatch):
    monkeypatch.setenv("GLMQ_ISA", "avx2")
    with pytest.raises(GlmqError, match="has kernels for avx512, generic, not for avx2"):
        kernel_folder.use(two_levels)


def test_a_processor_that_no_library_is_for_is_told(unused, tmp_path, level, objects):
    needing = {"mine": library(level, objects, WALK, needs=("no such feature",))}
    write_folder(tmp_path, needing, store.ENTRY_POINT)
    with pytest.raises(GlmqError, match="has kernels for mine, not for this processor's instructions"):
        kernel_folder.use(tmp_path)


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "one bit altered": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_library_is_told(unused, folder, damage):
    (file,) = folder.glob("*.so")
    file.write_bytes(damage(file.read_bytes()))
    kernel_folder.use(folder)
    with pytest.raises(GlmqError, match=rf"{file} is damaged; make the folder again with `glmq compile`"):
        store.kernel(WALK)


def test_a_library_that_is_gone_is_told(unused, folder):
    (file,) = folder.glob("*.so")
    file.unlink()
    kernel_folder.use(folder)
    with pytest.raises(GlmqError, match=f"{file} cannot be loaded: No such file"):
        store.kernel(WALK)


@pytest.mark.parametrize(
    "content", (b"", b"{}", b"[1]", b"\xff", b'{"format": 1, "sources": 2, "libraries": [3]}')
)
def test_a_damaged_table_of_contents_is_told(folder, content):
    (folder / CONTENTS).write_bytes(content)
    with pytest.raises(GlmqError, match="is damaged; make the folder again"):
        read_folder(folder)


@pytest.mark.parametrize("field", ("format", "sources"))
def test_a_folder_of_another_version_is_refused(folder, field):
    told = json.loads((folder / CONTENTS).read_bytes())
    (folder / CONTENTS).write_text(json.dumps(told | {field: "another"}))
    with pytest.raises(GlmqError, match="is of another version of glmq; make it again"):
        read_folder(folder)


def test_a_program_without_its_source_trusts_its_folder(folder, monkeypatch):
    monkeypatch.setattr(kernel_folder, "package_hash", lambda: None)
    assert list(read_folder(folder).libraries) == ["mine"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        GlmqError, match="is no folder of kernels: No such file.*make one with `glmq compile`"
    ):
        read_folder(tmp_path / "none")


def test_another_system_is_told(folder, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(GlmqError, match="for linux-x86_64 so far, and this is darwin"):
        read_folder(folder)


@pytest.mark.parametrize("what", (".", CONTENTS, "*.so"))
def test_what_others_can_write_is_not_run(unused, folder, what):
    (path,) = folder.glob(what) if what != "." else (folder,)
    path.chmod(0o777)
    with pytest.raises(GlmqError, match=rf"{path} can be written by others.*chmod go-w"):
        kernel_folder.use(folder) or store.kernel(WALK)


def test_files_are_for_everybody_to_read_and_for_nobody_else_to_write(folder):
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_libraries_that_are_told_of_no_more_go(folder, level, objects):
    (old,) = folder.glob("*.so")
    (folder / "others.so").touch()
    made = write_folder(folder, {"mine": library(level, objects, TOP_K)}, store.ENTRY_POINT)
    assert not old.exists()
    assert {path.name for path in folder.iterdir()} == {CONTENTS, "others.so", made.libraries["mine"].file}


def test_a_folder_keeps_libraries_that_it_has(folder, level, objects):
    kept = read_folder(folder).libraries["mine"]
    write_folder(folder, {"mine": kept, "more": library(level, objects, TOP_K)}, store.ENTRY_POINT)
    found = read_folder(folder).libraries
    assert found["mine"] == kept and found["more"].kernels == (TOP_K,)
    assert all((folder / entry.file).is_file() for entry in found.values())


@pytest.mark.parametrize("moment", range(1, 6))
def test_whatever_ends_the_writing_the_folder_stays_whole(
    unused, folder, level, objects, monkeypatch, moment
):
    """A process that is killed is stood for by one that goes on no further from some wait for the disk on."""
    waits = []

    def killed(descriptor):
        waits.append(descriptor)
        if len(waits) >= moment:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(os, "fsync", killed)
        write_folder(folder, {"mine": library(level, objects, WALK, TOP_K)}, store.ENTRY_POINT)
    kernel_folder.use(folder)
    assert walk() == [0, 11]


def test_a_folder_that_cannot_be_written_is_told(tmp_path, level, objects):
    (tmp_path / "file").touch()
    with pytest.raises(GlmqError, match=f"{tmp_path / 'file'} cannot be written: File exists"):
        write_folder(tmp_path / "file", {"mine": library(level, objects, WALK)}, store.ENTRY_POINT)


def test_what_is_no_object_file_is_not_linked(objects):
    for code in (b"", b"x" * 100, b"\x7fELF" + bytes(100)):
        with pytest.raises(ValueError, match="ELF"):
            link({"one": code}, store.ENTRY_POINT)
    with pytest.raises(ValueError, match=r"strings\.kernel\.walk has no function other"):
        link({WALK: objects[WALK]}, "other")


def test_a_library_imports_what_its_kernels_call(objects):
    assert link({WALK: objects[WALK]}, store.ENTRY_POINT).imports == ()
    assert "pthread_mutex_init" in link({LOCKING: objects[LOCKING]}, store.ENTRY_POINT).imports


def test_levels_are_named_best_first():
    assert list(portable_levels(["avx2", "avx512"])) == ["avx512", "avx2"]
    assert list(portable_levels(["all"])) == list(PORTABLE)
    (best,) = portable_levels(["auto"]).values()
    assert processor_features().issuperset(best.needs)


@pytest.mark.parametrize("names", ([], ["avx3"], ["avx2", ""]))
def test_unknown_levels_are_refused(names):
    with pytest.raises(GlmqError, match="are not known; choose auto, all or some of amx, avx512bf16"):
        portable_levels(names)


def test_portable_levels_differ_from_those_of_this_machine_in_their_features_alone():
    for name, level in isa.levels().items():
        if name in PORTABLE and name != "avx512":
            assert replace(PORTABLE[name].isa, features="", cpu="") == replace(level, features="", cpu="")


def test_this_processor_has_what_the_code_generator_says():
    names = {name for level in PORTABLE.values() for name in level.needs}
    told = {name for name, on in isa._host()[1].items() if on}
    assert processor_features() & names == told & names


def test_packages_that_compile_are_looked_for(monkeypatch):
    compiler_presence.can_compile.cache_clear()
    monkeypatch.setattr(compiler_presence, "find_spec", lambda name: None)
    assert not compiler_presence.can_compile()
    compiler_presence.can_compile.cache_clear()
