"""Make perplexity.json: llama.cpp's perplexity of the demo-tools model on licence.txt.

Needs xllamacpp (see make_llama_cpp_golden.py). The definition is that of llama-perplexity.

python tests/golden/make_perplexity_golden.py
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent / "kernels")]

import glmq
from glmq.model_file import model_file
from tests.golden.make_llama_cpp_golden import library

TEXT = HERE / "licence.txt"
N_CTX = 512


def logits_of_chunk(
    llama: ctypes.CDLL, context: ctypes.c_void_p, tokens: list[int], n_vocab: int
) -> np.ndarray:
    """The logits after each token of a chunk that is read alone, float32 (n, n_vocab)."""
    llama.llama_memory_clear(ctypes.c_void_p(llama.llama_get_memory(context)), True)
    rows = []
    for token in tokens:
        one = ctypes.c_int32(token)
        assert llama.llama_decode(context, llama.llama_batch_get_one(ctypes.byref(one), 1)) == 0
        rows.append(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (n_vocab,)).copy())
    return np.stack(rows)


def main() -> None:
    """Make them."""
    llama = library()
    llama.llama_get_memory.restype = ctypes.c_void_p
    path = model_file("demo-tools")
    with glmq.load(path) as model:
        tokens, n_vocab = model.tokenize(TEXT.read_text(encoding="utf-8")), model.n_vocab
    loaded = ctypes.c_void_p(
        llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    )
    context = ctypes.c_void_p(llama.llama_init_from_model(loaded, llama.llama_context_default_params()))
    nll = []
    for first in range(0, len(tokens) - N_CTX + 1, N_CTX):
        chunk = tokens[first : first + N_CTX]
        logits = logits_of_chunk(llama, context, chunk[:-1], n_vocab).astype(np.float64)
        log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        nll += [-log_p[i, chunk[i + 1]] for i in range(N_CTX // 2, N_CTX - 1)]
    value = np.exp(np.mean(nll))
    error = np.sqrt(np.var(nll) / (len(nll) - 1)) * value
    found = {"perplexity": value, "error": error, "n_counted": len(nll), "n_ctx": N_CTX}
    (HERE / "perplexity.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
