from __future__ import annotations

import pytest
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES

import glmq


@pytest.fixture
def path(tmp_path):
    return tmp_path / "talk.session"


@pytest.fixture(scope="module", params=(*CACHE_TYPES, pytest.param("Q8_0/Q4_0", marks=pytest.mark.slow)))
def model(request, small_path):
    with glmq.load(small_path, n_ctx=256, cache_type=request.param) as loaded:
        yield loaded
