from __future__ import annotations

import pytest
from glmq_kernels.jit import isa


@pytest.fixture(params=isa.levels())
def any_isa(request, monkeypatch):
    """Runs a test once for each level of instructions that this machine has."""
    monkeypatch.setenv("GLMQ_ISA", request.param)
    return request.param
