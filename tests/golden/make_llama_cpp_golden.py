"""Make llama_cpp.npz: the logits that llama.cpp gives for small models of every tensor type.

Needs xllamacpp, whose library has the functions of llama.cpp's C interface (llama.h). Logits are kept as
float16, which is fine enough for comparing distributions. Those of other models stay as they are.

python tests/golden/make_llama_cpp_golden.py [PART OF A NAME]
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent.parent / "kernels")]

from tests.glmq.small_models import N_VOCAB
from tests.glmq.test_against_llama_cpp import GOLDEN, KEPT, MODELS, TOKENS


class Record(ctypes.Structure):
    """A record of llama.h that is passed by value, larger than any of them: what is behind it is not read."""

    _fields_ = (("content", ctypes.c_char * 1024),)


def library() -> ctypes.CDLL:
    """llama.cpp's functions."""
    import xllamacpp

    [path] = Path(xllamacpp.__file__).parent.glob("xllamacpp*.so")
    found = ctypes.CDLL(str(path))
    for name in ("llama_model_default_params", "llama_context_default_params", "llama_batch_get_one"):
        getattr(found, name).restype = Record
    for name in ("llama_model_load_from_file", "llama_init_from_model"):
        getattr(found, name).restype = ctypes.c_void_p
    found.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
    return found


def logits_of(llama: ctypes.CDLL, path: Path, tokens: list[int]) -> np.ndarray:
    """The logits after each token, float32 (n, n_vocab)."""
    model = ctypes.c_void_p(
        llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    )
    assert model, f"llama.cpp does not load {path}"
    context = ctypes.c_void_p(llama.llama_init_from_model(model, llama.llama_context_default_params()))
    rows = []
    for token in tokens:
        one = ctypes.c_int32(token)
        assert llama.llama_decode(context, llama.llama_batch_get_one(ctypes.byref(one), 1)) == 0
        rows.append(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (N_VOCAB,)).copy())
    llama.llama_free(context)
    llama.llama_model_free(model)
    return np.stack(rows)


def main() -> None:
    """Make the logits of the models named, or of all."""
    llama, part_of_name = library(), sys.argv[1] if len(sys.argv) > 1 else ""
    found = dict(np.load(GOLDEN)) if part_of_name else {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in MODELS.items():
            if part_of_name in name:
                path = write(Path(folder) / "model.gguf")
                found[name] = logits_of(llama, path, TOKENS)[KEPT].astype(np.float16)
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    main()
