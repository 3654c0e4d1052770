from __future__ import annotations

import pytest

from ..talks import new_talk
from .told_by_commands import REPLIES


@pytest.fixture
def talk(monkeypatch, glm_4_7):
    return new_talk(monkeypatch, glm_4_7, list(REPLIES))
