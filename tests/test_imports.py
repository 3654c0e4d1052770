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


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_through_others(package):
    graph = grimp.build_graph(package, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 10
    imports.get("glmq.session", set()).discard("glmq.session_file")
    assert " -> ".join(circle(imports)) == ""


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": {"d"}}) == []
    found = circle({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}})
    assert found[0] == found[-1] and set(found) == {"a", "b", "c"}
