"""A kernel's hash covers all that its machine code is made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import pytest
from glmq_kernels.jit import isa, source_hash, store
from glmq_kernels.jit.source_hash import PACKAGE, sources

LIST_IMPORTS = """
import importlib, json, sys
import numba, llvmlite, numpy
always = set(sys.modules)
found = {}
for name in json.loads(sys.argv[1]):
    for other in set(sys.modules) - always:
        del sys.modules[other]
    importlib.import_module(name)
    new = set(sys.modules) - always
    found[name] = [(other, getattr(sys.modules[other], "__file__", None)) for other in new]
json.dump(found, sys.stdout)
"""
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and path.parent.name != "jit"
)


@pytest.fixture(scope="module")
def imported():
    """What Python imports with each kernel module: names and files."""
    ended = subprocess.run(
        [sys.executable, "-c", LIST_IMPORTS, json.dumps(MODULES)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(ended.stdout)


@pytest.mark.parametrize("module", MODULES)
def test_everything_that_a_kernel_imports_is_in_its_hash(imported, module):
    found = sources(PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py"))
    own = {file for name, file in imported[module] if name.partition(".")[0] == PACKAGE.name}
    assert own <= {str(path) for path in found.files}
    if any(name.partition(".")[0] == "gguf" for name, _ in imported[module]):
        assert "gguf" in found.packages


def test_kernels_of_formats_depend_on_all_formats_and_on_the_package_of_the_code_books():
    for module in ("gemm/gemv.py", "gemm/gemm.py", "ops/embedding/kernel.py"):
        found = sources(PACKAGE / module)
        assert {*(PACKAGE / "formats" / "unpack").glob("*.py")} <= found.files
        assert "gguf" in found.packages


@pytest.fixture
def package(tmp_path):
    """A folder of kernels in a package."""
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    for folder in (tmp_path, kernels):
        (folder / "__init__.py").touch()
    return kernels


@pytest.mark.parametrize(
    "statement",
    (
        "from .two import x",
        "from . import two",
        "from . import (\n    one,\n    two,\n)",
        "from . import one as first, two as second",
        "if True: from .two import x",
        "x = 1; from .two import x",
        "def f():\n    from .two import x",
        "from . \\\n    import two",
        "from .two import \\\n    x",
        "from .three import x  # which imports it",
        "from .deep import x",
        "from .deep.four import x",
        "import importlib\nimportlib.import_module('.two', __package__)",
        "__import__('two')",
    ),
)
def test_every_form_of_import_counts(package, statement):
    (package / "one.py").write_text(f"{statement}\n")
    (package / "three.py").write_text("from .two import x\n")
    (package / "deep").mkdir()
    (package / "deep" / "__init__.py").write_text("from ..two import x\n")
    (package / "deep" / "four.py").write_text("x = 1\n")
    assert_hash_depends_on(package / "one.py", package / "two.py")


def test_modules_above_and_packages_around_count(package):
    (package / "one.py").write_text("from ..above import x\n")
    assert_hash_depends_on(package / "one.py", package.parent / "above.py")
    assert_hash_depends_on(package / "one.py", package / "__init__.py")


@pytest.mark.parametrize(
    "statement",
    ("import glmq_kernels.arrays", "from glmq_kernels import arrays", "import os, glmq_kernels.arrays as t"),
)
def test_imports_by_the_whole_name_count(package, statement):
    (package / "one.py").write_text(f"{statement}\n")
    assert PACKAGE / "arrays.py" in sources(package / "one.py").files


def test_modules_that_import_each_other_are_no_trouble(package):
    (package / "one.py").write_text("from .two import x\n")
    (package / "two.py").write_text("from .one import y\n")
    assert {package / "one.py", package / "two.py"} <= sources(package / "one.py").files


def test_sentences_that_begin_like_imports_are_no_trouble(package):
    (package / "one.py").write_text('"""\nfrom here to there\nimport what you like, and more.\n"""\n')
    assert sources(package / "one.py").packages == {"numba", "llvmlite", "numpy"}


@pytest.mark.parametrize(
    ("package_name", "kernel"),
    (
        ("gguf", "gemm.gemv.x"),
        ("numpy", "gemm.gemv.x"),
        ("numba", "strings.kernel.walk"),
        ("llvmlite", "strings.kernel.walk"),
    ),
)
def test_the_hash_covers_the_versions_of_packages(monkeypatch, package_name, kernel):
    before = store.object_path(kernel, isa.current())
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == package_name else version(name))
    forget()
    after = store.object_path(kernel, isa.current())
    forget()
    assert after != before


@pytest.mark.parametrize("file", store.COMPILER)
def test_the_hash_covers_how_kernels_are_compiled(monkeypatch, file):
    before = store.object_path("strings.kernel.walk", isa.current())
    hashed = store.source_hash
    monkeypatch.setattr(
        store, "source_hash", lambda path, **how: "" if path.name == file else hashed(path, **how)
    )
    assert store.object_path("strings.kernel.walk", isa.current()) != before


def test_the_hash_covers_every_field_of_the_level():
    level = isa.current()
    others = [replace(level, panels=level.panels + 1), replace(level, features=level.features + ",-sha")]
    assert len({store.object_path("strings.kernel.walk", each) for each in (level, *others)}) == 3


def assert_hash_depends_on(module, other):
    hashes = set()
    for content in ("x = y = 1\n", "x = y = 2\n"):
        other.write_text(content)
        forget()
        hashes.add(source_hash.source_hash(module))
    forget()
    assert len(hashes) == 2


def forget():
    """Have everything be read again."""
    for function in vars(source_hash).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
