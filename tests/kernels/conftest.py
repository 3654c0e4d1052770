from __future__ import annotations

import pytest
from glmq_kernels.team import Team


@pytest.fixture(scope="module")
def team():
    members = Team(2)
    yield members
    members.close()
