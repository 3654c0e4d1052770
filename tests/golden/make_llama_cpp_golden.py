"""Make llama_cpp.npz: the logits that llama.cpp gives for small models of every tensor type.

Needs llama-cpp-python. Logits are kept as float16, which is fine enough for comparing distributions.

python tests/golden/make_llama_cpp_golden.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent / "kernels")]

from tests.glmq.test_against_llama_cpp import KEPT, MODELS, TOKENS


def main() -> None:
    import llama_cpp

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in MODELS.items():
            path = write(Path(folder) / "model.gguf")
            model = llama_cpp.Llama(str(path), n_ctx=256, logits_all=True, n_threads=2, verbose=False)
            model.eval(TOKENS)
            found[name] = np.array(model.scores[: len(TOKENS)][KEPT], np.float16)
            model.close()
    np.savez_compressed(HERE / "llama_cpp.npz", **found)


if __name__ == "__main__":
    main()
