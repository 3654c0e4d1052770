from __future__ import annotations

import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.jit import isa
from glmq_kernels.jit.store import kernels
from glmq_kernels.threads.thread_pool import KERNELS as POOL_KERNELS
from glmq_kernels.threads.thread_pool import ThreadPool

from .runs import product_kernels


@pytest.fixture(autouse=True, scope="package")
def guard_pages():
    """All that kernels get ends at unreadable pages: what goes past an end ends the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLMQ_GUARD_PAGES", "1")
        yield


@pytest.fixture(autouse=True, scope="package")
def kernels_of_all_tests(request):
    """Compiles the products that the chosen tests are about in one go, which keeps all cores busy."""
    levels = isa.levels()
    wanted = {}
    for item in request.session.items:
        chosen = item.callspec.params if hasattr(item, "callspec") else {}
        if chosen.get("type_name") in KERNEL_TYPES:
            wanted.setdefault(chosen.get("any_isa", next(iter(levels))), set()).add(chosen["type_name"])
    for level, type_names in wanted.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GLMQ_ISA", level)
            kernels([*POOL_KERNELS, *product_kernels(sorted(type_names))])


@pytest.fixture(scope="module")
def thread_pool():
    members = ThreadPool(2)
    yield members
    members.close()
