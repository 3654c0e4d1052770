"""Make llama_cpp.npz: the logits that llama.cpp gives for small models of every tensor type.

Needs xllamacpp, whose library has the functions of llama.cpp's C interface (llama.h). Logits are kept as
float16, which is fine enough for comparing distributions. Those of other models stay as they are.

python tests/golden/make_llama_cpp_golden.py [PART OF A NAME]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent / folder) for folder in (".", "kernels", "bench")]

from llama_cpp_library import LlamaCpp

from tests.glmq.test_against_llama_cpp import GOLDEN, KEPT, MODELS, TOKENS


def logits_of(path: Path, tokens: list[int]) -> np.ndarray:
    """The logits after each token, float32 (n, n_vocab)."""
    model = LlamaCpp(path)
    rows = [model.evaluate([token]) for token in tokens]
    model.close()
    return np.stack(rows)


def main() -> None:
    """Make the logits of the models named, or of all."""
    part_of_name = sys.argv[1] if len(sys.argv) > 1 else ""
    found = dict(np.load(GOLDEN)) if part_of_name else {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in MODELS.items():
            if part_of_name in name:
                path = write(Path(folder) / "model.gguf")
                found[name] = logits_of(path, TOKENS)[KEPT].astype(np.float16)
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    main()
