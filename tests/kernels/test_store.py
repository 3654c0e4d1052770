"""The kernel store: compiled once, found again, safe against interruption."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit import isa, store
from glmq_kernels.jit.compilation import Compiler, compiler_environment
from glmq_kernels.jit.object_file import read_object, write_object
from glmq_kernels.strings.string_offsets import string_offsets


def test_a_program_with_a_warm_store_does_not_import_numba():
    kernel = "strings.kernel.walk"
    store.kernel(kernel)
    code = (
        f"import sys; from glmq_kernels.jit.store import kernel; kernel({kernel!r});"
        " assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def environment():
    return os.environ | {"PYTHONPATH": str(store.PACKAGE.parent)}


def test_kernels_are_compiled_into_the_cache_folder_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_loaded", {})
    steps = []
    store.kernels(
        ["strings.kernel.walk", "ops.routing.kernel.dispatch"],
        lambda text, fraction: steps.append(fraction),
    )
    assert steps == [0.0, 0.5, 1.0]
    assert len(list(tmp_path.rglob("*.o"))) == 2
    monkeypatch.setattr(store, "_loaded", {})
    store.kernels(
        ["strings.kernel.walk", "ops.routing.kernel.dispatch"],
        lambda text, fraction: pytest.fail("compiled again"),
    )


def test_a_kernel_that_does_not_compile_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match="routing.nothing"):
        store.kernel("routing.nothing")
    assert not list(tmp_path.rglob("*.o"))


def test_object_names_depend_on_instructions_and_sources():
    levels = list(isa.levels().values())
    paths = {store.object_path("strings.kernel.walk", level) for level in levels}
    assert len(paths) == len(levels)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_loaded", {})
    return tmp_path


DAMAGE = {
    "empty": lambda code: b"",
    "cut": lambda code: code[: len(code) // 2],
    "one byte short": lambda code: code[:-1],
    "the checksum alone": lambda code: code[-32:],
    "one bit altered": lambda code: code[:100] + bytes([code[100] ^ 1]) + code[101:],
    "zeros, as after a loss of power": lambda code: bytes(len(code)),
    "longer": lambda code: code + b"x",
    "no checksum": lambda code: code[:-32],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_object_file_is_not_there(tmp_path, damage):
    path = tmp_path / "one.o"
    write_object(path, bytes(range(256)))
    assert read_object(path) == bytes(range(256))
    path.write_bytes(damage(path.read_bytes()))
    assert read_object(path) is None


def test_what_is_not_there_is_compiled_anew(empty_cache, monkeypatch):
    store.kernel("strings.kernel.walk")
    (path,) = empty_cache.rglob("*.o")
    path.write_bytes(path.read_bytes()[:-100])
    monkeypatch.setattr(store, "_loaded", {})
    store.kernel("strings.kernel.walk")
    assert read_object(path) is not None


def in_place_of_a_file(path, kind):
    """Something else under a file's name."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"link to nothing": path.parent / "no", "link to a device": "/dev/zero"}[kind])


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
@pytest.mark.parametrize("kind", ("folder", "pipe", "link to nothing", "link to a device"))
def test_what_is_no_file_holds_no_code(tmp_path, kind):
    path = tmp_path / "one.o"
    in_place_of_a_file(path, kind)
    assert read_object(path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_link_gives_way_to_code(tmp_path):
    path, other = tmp_path / "one.o", tmp_path / "other"
    other.write_bytes(b"kept")
    path.symlink_to(other)
    write_object(path, b"code")
    assert read_object(path) == b"code"
    assert other.read_bytes() == b"kept"


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")
@pytest.mark.parametrize("kind", ("folder", "pipe"))
def test_what_is_in_the_way_of_code_is_told(empty_cache, monkeypatch, kind):
    store.kernel("strings.kernel.walk")
    (path,) = empty_cache.rglob("*.o")
    path.unlink()
    in_place_of_a_file(path, kind)
    monkeypatch.setattr(store, "_loaded", {})
    with pytest.raises(GlmqError, match=f"{path.name} is there and is no file"):
        store.kernel("strings.kernel.walk")


@pytest.mark.skipif(sys.platform == "win32", reason="where what is left over stays")
def test_what_a_killed_compiler_has_left_goes_with_the_next(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from glmq_kernels.files import file_writing
from glmq_kernels.jit.object_file import write_object
file_writing.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_object(Path({str(tmp_path / "one.o")!r}), b"code")
"""
    subprocess.run([sys.executable, "-c", code], env=environment())
    assert len(list(tmp_path.iterdir())) == 1
    write_object(tmp_path / "one.o", b"code")
    assert [path.name for path in tmp_path.iterdir()] == ["one.o"]


def test_an_object_file_under_the_name_of_another_is_not_taken_for_it(tmp_path):
    write_object(tmp_path / "one.o", b"code of one")
    (tmp_path / "one.o").rename(tmp_path / "other.o")
    assert read_object(tmp_path / "other.o") is None


def test_what_cannot_be_read_is_not_there(tmp_path):
    (tmp_path / "folder.o").mkdir()
    assert read_object(tmp_path / "folder.o") is None
    assert read_object(tmp_path / "missing.o") is None


def test_an_interrupted_write_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "one.o"
    write_object(path, b"first")

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_object(path, b"second")
    assert read_object(path) == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_compile_the_same_at_once_all_get_whole_kernels(tmp_path):
    code = (
        "from glmq_kernels.strings.string_offsets import string_offsets; import numpy as np;"
        " assert string_offsets(np.zeros(16, np.uint8), 0, 2).tolist() == [0, 8, 16]"
    )
    cache = environment() | {"GLMQ_CACHE": str(tmp_path)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=cache) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".o"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_full_disk_is_told_in_one_line(tmp_path):
    """A limit on the size of files stands for the disk: it stops writing alike."""
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.store import kernel
try:
    kernel("strings.kernel.walk")
except GlmqError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment() | {"GLMQ_CACHE": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.stderr == ""
    assert ended.stdout.count("\n") == 1
    assert f"cannot be written to {tmp_path}" in ended.stdout
    assert "File too large" in ended.stdout and "GLMQ_CACHE" in ended.stdout
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_disk_that_gives_back_something_else_is_told(empty_cache, monkeypatch):
    monkeypatch.setattr(store, "read_object", lambda path: None)
    with pytest.raises(GlmqError, match="is not what was written to it; check the disk"):
        store.kernel("strings.kernel.walk")


def test_a_compiler_that_is_killed_is_told(empty_cache, monkeypatch):
    monkeypatch.setattr(Compiler, "compile", lambda self, name, path: "the compiler ended with signal 9")
    with pytest.raises(GlmqError, match=r"signal 9.*strings\.kernel\.walk.*too little memory"):
        store.kernel("strings.kernel.walk")


def test_a_compiler_process_that_ends_gives_its_signal(tmp_path):
    compiler = Compiler(isa.current(), tmp_path)
    compiler._process.kill()
    assert compiler.compile("strings.kernel.walk", tmp_path / "walk.o") in (
        f"the compiler ended with signal {number}" for number in (9,)
    )
    compiler.close()


def test_a_compiler_that_cannot_be_run_is_told(empty_cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(RuntimeError, match="No such file"):
        store.kernel("strings.kernel.walk")


def test_nothing_of_the_users_environment_reaches_the_compiler(empty_cache, monkeypatch):
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    monkeypatch.setenv("PYTHONPATH", "relative")
    found = compiler_environment(isa.current())
    assert {name for name in found if name.startswith("NUMBA_")} == {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}
    assert found["PYTHONPATH"].split(os.pathsep)[1] == os.path.abspath("relative")
    (empty_cache / ".numba_config.yaml").write_text("disable_jit: 1\n")
    monkeypatch.chdir(empty_cache)
    store.kernel("strings.kernel.walk")


def test_an_unknown_level_of_instructions_is_refused(monkeypatch):
    monkeypatch.setenv("GLMQ_ISA", "sse9")
    with pytest.raises(GlmqError, match="sse9"):
        isa.current()


def test_string_offsets_walk_strings_and_stop_at_the_end():
    strings = [b"", b"abc", b"x" * 300]
    data = np.frombuffer(b"".join(len(s).to_bytes(8, "little") + s for s in strings), np.uint8).copy()
    assert string_offsets(data, 0, 3).tolist() == [0, 8, 19, 327]
    assert string_offsets(data, 8, 1).tolist() == [8, 19]
    for start, count in ((0, 4), (9, 1), (0, 10**15), (400, 0)):
        with pytest.raises(ValueError, match="string"):
            string_offsets(data, start, count)
