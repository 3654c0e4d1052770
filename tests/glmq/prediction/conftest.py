from __future__ import annotations

import pytest

from ..prediction_runs import load_predicting
from ..small_models import add_prediction
from .predicted_text import WRITE


@pytest.fixture(scope="module", params=WRITE)
def path(request, tmp_path_factory):
    """A small model with the layer, in float32."""
    folder = tmp_path_factory.mktemp("predicting")
    return WRITE[request.param](folder / "model.gguf", change=add_prediction)


@pytest.fixture(scope="module")
def model(path):
    with load_predicting(path, cache_type="F32") as model:
        yield model
