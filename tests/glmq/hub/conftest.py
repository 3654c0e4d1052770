from __future__ import annotations

import pytest
from huggingface_hub import constants

from glmq.hub import connection

from .local_hub import LocalHub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The local Hub in the place of the real one, and an empty cache."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    with LocalHub() as local:
        monkeypatch.setattr(constants, "ENDPOINT", local.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(connection, "RETRY_SECONDS", (0.01, 0.01, 0.01))
        yield local


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
