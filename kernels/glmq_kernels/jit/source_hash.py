"""What a kernel's machine code is made of: its source, all that this imports, and the packages it uses.

Imports are found by reading the source, so that a program whose kernels are all compiled imports neither
the kernels' modules nor Numba.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
STATEMENT = re.compile(
    r"(?:^|[;:])[ \t]*"
    r"((?:from[ \t.]+[\w.]*[ \t\\\n]*)?import\b(?:[ \t]*\([^)]*\)|(?:\\\n|[^\n;])*))",
    re.MULTILINE,
)
BY_NAME = re.compile(r"\b(import_module|__import__)\b")
"""A module that imports others by names that it makes may import any beside it."""

ALWAYS = ("numba", "llvmlite", "numpy")
"""Packages that take part in every compilation."""


@dataclass(frozen=True)
class Sources:
    """files: of this package. packages: names of the others, without Python's own."""

    files: frozenset[Path]
    packages: frozenset[str]


def sources(module: Path) -> Sources:
    """A module's file and every file that it imports, directly or through others."""
    files: set[Path] = set()
    packages = set(ALWAYS)
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path not in files and path.is_file():
            files.add(path)
            next_files, next_packages = _imports(path)
            waiting += next_files
            packages |= next_packages
    return Sources(frozenset(files), frozenset(packages - sys.stdlib_module_names))


@functools.cache
def _imports(path: Path) -> tuple[frozenset[Path], frozenset[str]]:
    """Files that a file imports, with the `__init__` of each package that it is in, and other packages."""
    text = path.read_text(encoding="utf-8")
    files = {*_initializers(path.parent)}
    packages = set()
    if BY_NAME.search(text):
        files.update(path.parent.rglob("*.py"))
    for node in _import_statements(text):
        for folder, target in _targets(node, path):
            if folder is None:
                packages.add(target)
            else:
                files.update(_files_of(folder, target))
    return frozenset(files), frozenset(packages)


@functools.cache
def source_hash(module: Path, *, follow: bool = True) -> str:
    """Hash of the content of all files that a module is made of, and of the versions of packages.

    follow: whether files that it imports count.
    """
    found = sources(module) if follow else Sources(frozenset({module}), frozenset())
    digest = hashlib.sha256()
    for path in sorted(found.files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for package in sorted(found.packages):
        digest.update(f"{package} {_version(package)}\n".encode())
    return digest.hexdigest()


@functools.cache
def package_hash() -> str | None:
    """Hash of the content of all files of this package; None where it is installed without its source."""
    files = sorted(PACKAGE.rglob("*.py"))
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def _initializers(folder: Path) -> tuple[Path, ...]:
    """The `__init__` of each package that a folder is or is in."""
    found = folder / "__init__.py"
    return (found, *_initializers(folder.parent)) if found.is_file() else ()


def _import_statements(text: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """What looks like one, at any depth; to parse whole files would take a noticeable time at each start."""
    for found in STATEMENT.finditer(text):
        try:
            nodes = ast.parse(found[1]).body
        except SyntaxError:
            continue  # a sentence that begins like one
        yield from (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def _targets(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[tuple[Path | None, str]]:
    """Dotted names, each with the folder that it is relative to; None and the name of another package."""
    for alias in node.names:
        relative = node.level if isinstance(node, ast.ImportFrom) else 0
        target = alias.name
        if isinstance(node, ast.ImportFrom) and node.module:
            target = f"{node.module}.{target}"
        top, _, rest = target.partition(".")
        if relative:
            yield path.parents[relative - 1], target
        else:
            yield (PACKAGE, rest) if top == PACKAGE.name else (None, top)


@functools.cache
def _files_of(folder: Path, target: str) -> tuple[Path, ...]:
    """The files behind a dotted name: modules, packages, or something in one of them."""
    first, _, rest = target.partition(".")
    module, package = folder / f"{first}.py", folder / first / "__init__.py"
    if package.is_file():
        return (package, *_files_of(folder / first, rest)) if rest else (package,)
    return (module,) if module.is_file() else ()
