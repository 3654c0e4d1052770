"""What llama.cpp's layer of multi-token prediction predicts, by functions that its library exports.

These are declared in llama.cpp's src/llama-ext.h, and known by their C++ names. A second context of the same
model runs the layer; its batches have for each token the trunk's hidden state of the position before.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llama_cpp_library import (
    FLASH_ATTENTION,
    MODEL_FLAGS_FROM,
    N_BATCH,
    N_CTX,
    N_THREADS,
    N_THREADS_BATCH,
    N_UBATCH,
    Batch,
    Record,
    kv_unified,
    library,
)

LOAD_MTP = 3
"""Of the model's parameters: so many bytes behind `use_extra_bufts`."""
CONTEXT_TYPE, MTP = 36, 1
"""Of the context's parameters: where its type stands, and that of a context of the layer."""
OTHER_CONTEXT = 144


class LlamaCppPrediction:
    """A model with its layer, for texts of up to `n_ctx` tokens."""

    def __init__(self, path: str | Path, n_ctx: int = 2048, n_threads: int = 2) -> None:
        self._llama = llama = library()
        parameters = llama.llama_model_default_params()
        content = bytes(ctypes.string_at(ctypes.addressof(parameters), 80))
        [at] = [i for i in range(MODEL_FLAGS_FROM, 80) if content[i] == 1]
        ctypes.memset(ctypes.addressof(parameters) + at + LOAD_MTP, 1, 1)
        self._model = ctypes.c_void_p(llama.llama_model_load_from_file(str(path).encode(), parameters))
        if not self._model:
            raise ValueError(f"llama.cpp does not load {path}")
        vocab = ctypes.c_void_p(llama.llama_model_get_vocab(self._model))
        self._n_vocab, self._width = (
            int(llama.llama_vocab_n_tokens(vocab)),
            int(llama.llama_model_n_embd(self._model)),
        )
        sizes = ((N_CTX, n_ctx), (N_BATCH, n_ctx), (N_UBATCH, n_ctx))
        threads = ((N_THREADS, n_threads), (N_THREADS_BATCH, n_threads), (FLASH_ATTENTION, 0))
        self._trunk = self._context([*sizes, *threads])
        self._layer = self._context([*sizes, *threads, (CONTEXT_TYPE, MTP)], self._trunk)
        give_states = llama._Z26llama_set_embeddings_nextnP13llama_contextbb
        give_states.argtypes, give_states.restype = (ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool), None
        give_states(self._trunk, True, False)
        give_states(self._layer, True, True)
        self._states = llama._Z26llama_get_embeddings_nextnP13llama_context
        self._states.argtypes, self._states.restype = (ctypes.c_void_p,), ctypes.POINTER(ctypes.c_float)

    def logits(self, tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Logits behind each token of a text, of the trunk and of the layer, float32 (n, n_vocab) each."""
        for context in (self._trunk, self._layer):
            memory = ctypes.c_void_p(self._llama.llama_get_memory(context))
            self._llama.llama_memory_clear(memory, True)
        of_trunk = self._decode(self._trunk, tokens, None)
        states = np.ctypeslib.as_array(self._states(self._trunk), (len(tokens), self._width))
        before = np.ascontiguousarray(np.vstack([np.zeros_like(states[:1]), states[:-1]]))
        return of_trunk, self._decode(self._layer, tokens, before)

    def close(self) -> None:
        """Give the memory back."""
        self._llama.llama_free(self._layer)
        self._llama.llama_free(self._trunk)
        self._llama.llama_model_free(self._model)

    def _context(
        self, settings: Sequence[tuple[int, int]], other: ctypes.c_void_p | None = None
    ) -> ctypes.c_void_p:
        parameters = self._llama.llama_context_default_params()
        kv_unified(parameters)  # checks how they are laid out
        for at, value in settings:
            ctypes.memmove(ctypes.addressof(parameters) + at, struct.pack("<i", value), 4)
        if other is not None:
            address = struct.pack("<Q", other.value)
            ctypes.memmove(ctypes.addressof(parameters) + OTHER_CONTEXT, address, 8)
        return ctypes.c_void_p(self._llama.llama_init_from_model(self._model, parameters))

    def _decode(
        self, context: ctypes.c_void_p, tokens: Sequence[int], states: np.ndarray | None
    ) -> np.ndarray:
        n = len(tokens)
        numbers, number = np.array(tokens, np.int32), np.zeros(1, np.int32)
        positions, counts, wanted = np.arange(n, dtype=np.int32), np.ones(n, np.int32), np.ones(n, np.int8)
        sequences = np.full(n, number.ctypes.data, np.uint64)
        arrays = (numbers, states, positions, counts, sequences, wanted)
        batch = Batch(n, *(None if each is None else each.ctypes.data for each in arrays))
        record = Record()
        ctypes.memmove(ctypes.addressof(record), ctypes.addressof(batch), ctypes.sizeof(batch))
        if self._llama.llama_decode(context, record) != 0:
            raise ValueError("llama.cpp cannot evaluate the tokens")
        found = self._llama.llama_get_logits(context)
        return np.ctypeslib.as_array(found, (n, self._n_vocab)).copy()
