from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A float32 checkpoint as transformers saves it."""
    from tests import glm4_moe_checkpoints as checkpoints  # which needs torch

    folder = tmp_path_factory.mktemp("plain") / "GLM-Tiny"
    checkpoints.save_checkpoint(folder)
    return folder
