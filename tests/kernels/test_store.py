"""The kernel store: compiled once, found again, safe against interruption."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from glmq_kernels import isa, store
from glmq_kernels.errors import UserError
from glmq_kernels.strings import string_offsets


def test_a_program_with_a_warm_store_does_not_import_numba():
    kernel = "strings.walk"
    store.kernel(kernel)
    code = (
        f"import sys; from glmq_kernels.store import kernel; kernel({kernel!r});"
        " assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


def environment():
    import os

    return os.environ | {"PYTHONPATH": str(store.NATIVE.parents[1])}


def test_kernels_are_compiled_into_the_cache_folder_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_loaded", {})
    steps = []
    store.kernels(["strings.walk", "routing.sort"], lambda text, fraction: steps.append(fraction))
    assert steps == [0.0, 0.5, 1.0]
    assert len(list(tmp_path.rglob("*.o"))) == 2
    monkeypatch.setattr(store, "_loaded", {})
    store.kernels(["strings.walk", "routing.sort"], lambda text, fraction: pytest.fail("compiled again"))


def test_a_kernel_that_does_not_compile_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GLMQ_CACHE", str(tmp_path))
    with pytest.raises(RuntimeError, match="routing.nothing"):
        store.kernel("routing.nothing")
    assert not list(tmp_path.rglob("*.o"))


def test_object_names_depend_on_instructions_and_sources():
    levels = list(isa.levels().values())
    paths = {store._object_path("strings.walk", level) for level in levels}
    assert len(paths) == len(levels)


def test_the_hash_of_a_kernel_covers_what_it_imports(tmp_path):
    folder = tmp_path / "native"
    folder.mkdir()
    (folder / "one.py").write_text("from .two import x\n")
    (folder / "two.py").write_text("from ..three import x\n")
    (tmp_path / "three.py").write_text("x = 1\n")
    before = store._source_hash(folder / "one.py")
    (tmp_path / "three.py").write_text("x = 2\n")
    store._source_hash.cache_clear()
    assert store._source_hash(folder / "one.py") != before


def test_an_unknown_level_of_instructions_is_refused(monkeypatch):
    monkeypatch.setenv("GLMQ_ISA", "sse9")
    with pytest.raises(UserError, match="sse9"):
        isa.current()


def test_string_offsets_walk_strings_and_stop_at_the_end():
    strings = [b"", b"abc", b"x" * 300]
    data = np.frombuffer(b"".join(len(s).to_bytes(8, "little") + s for s in strings), np.uint8).copy()
    assert string_offsets(data, 0, 3).tolist() == [0, 8, 19, 327]
    assert string_offsets(data, 8, 1).tolist() == [8, 19]
    for start, count in ((0, 4), (9, 1), (0, 10**15), (400, 0)):
        with pytest.raises(ValueError, match="string"):
            string_offsets(data, start, count)
