"""Make llama_cpp_prediction.npz: what llama.cpp's layer of multi-token prediction gives for small models.

Needs xllamacpp (see make_llama_cpp_golden.py). Logits are kept as float16.

python tests/golden/make_llama_cpp_prediction_golden.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent / folder) for folder in (".", "kernels", "bench")]

from llama_cpp_prediction import LlamaCppPrediction

from tests.glmq.prediction.test_against_llama_cpp import GOLDEN, KEPT, MODELS, TOKENS


def main() -> None:
    """Make the logits of all models."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, write) in enumerate(MODELS.items()):
            model = LlamaCppPrediction(write(Path(folder) / f"{i}.gguf"), n_ctx=512)
            found[name] = model.logits(TOKENS)[1][KEPT].astype(np.float16)
            model.close()
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    main()
