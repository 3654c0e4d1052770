"""Imports point one way: no module, directly or through others, imports itself, not even inside functions."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("glmq", "glmq_convert", "glmq_kernels")


def circle(imports):
    """Modules of which each imports the next, from one back to itself; none where there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def imports_of(package):
    """What each module of a package imports of it, not even leaving out what functions import."""
    graph = grimp.build_graph(package, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def of_parts(imports):
    """The same of a package's parts: its folders, and the modules beside them."""
    parts = {}
    for module, imported in imports.items():
        part, *others = (".".join(name.split(".")[:2]) for name in (module, *imported))
        parts.setdefault(part, set()).update(each for each in others if each != part and "." in each)
    return parts


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_through_others(package):
    imports = imports_of(package)
    assert len(imports) > 10
    assert " -> ".join(circle(imports)) == ""


@pytest.mark.parametrize("package", PACKAGES)
def test_no_part_of_a_package_imports_itself_through_others(package):
    parts = of_parts(imports_of(package))
    assert len(parts) > 5
    assert " -> ".join(circle(parts)) == ""


def test_parts_import_what_their_modules_import():
    assert of_parts({"p.a.x": {"p.a.y", "p.b", "p"}, "p.a.y": {"p.c.z"}, "p.b": set()}) == {
        "p.a": {"p.b", "p.c"},
        "p.b": set(),
    }


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": {"d"}}) == []
    found = circle({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}})
    assert found[0] == found[-1] and set(found) == {"a", "b", "c"}
