from __future__ import annotations

import pytest
from glmq_kernels.jit import isa

TYPES_ON_OTHER_LEVELS = frozenset(("F32", "F16", "BF16", "Q8_0", "Q4_1", "Q6_K", "IQ3_S", "IQ1_M", "TQ1_0"))
"""One type of each kind of unpacking. Others are tested on the best level alone, but for slow tests."""


@pytest.fixture(params=isa.levels())
def any_isa(request, monkeypatch):
    """Runs a test once for each level of instructions that this machine has."""
    monkeypatch.setenv("GLMQ_ISA", request.param)
    return request.param


def pytest_collection_modifyitems(items):
    best = next(iter(isa.levels()))
    for item in items:
        chosen = item.callspec.params if hasattr(item, "callspec") else {}
        is_rare = chosen.get("type_name", "F32") not in TYPES_ON_OTHER_LEVELS
        if chosen.get("any_isa", best) != best and is_rare:
            item.add_marker(pytest.mark.slow)
