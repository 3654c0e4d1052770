from __future__ import annotations

import pytest
from glmq_kernels import isa


@pytest.fixture(params=isa.LEVELS)
def any_isa(request, monkeypatch):
    """Runs a test once for each level of instructions that this machine has."""
    if request.param not in isa.levels():
        pytest.skip(f"this machine cannot run {request.param}")
    monkeypatch.setenv("GLMQ_ISA", request.param)
    return request.param
