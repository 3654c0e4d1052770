"""llama.cpp by the functions of its C interface (llama.h), of any of the builds in `peers.py`.

Records that are passed by value are opaque here, since they differ from version to version; what is set in
them lies where the defaults show it, which is checked.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from peers import PEERS, libraries

CONTEXT_DEFAULTS = {0: 512, 4: 2048, 8: 512, 12: 1, 28: 4, 32: 4, 52: -1}
"""int32 at these bytes of the context's parameters."""
N_CTX, N_BATCH, N_UBATCH, N_THREADS, N_THREADS_BATCH, FLASH_ATTENTION = 0, 4, 8, 28, 32, 52
CONTEXT_FLAGS_FROM, N_CONTEXT_FLAGS = 120, 4
"""Booleans of the context's parameters: behind that, so many in a row are set by default. The one behind
them, which is not, has all sequences share the cache."""
N_SEQ_MAX = 12
MODEL_FLAGS_FROM = 32
"""Of the model's parameters: behind it only `use_extra_bufts` is set by default."""


_SILENCE = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *message: None)
"""Takes what llama.cpp would tell."""


class Record(ctypes.Structure):
    """A record of llama.h that is passed by value, larger than any of them: what is behind it is not read."""

    _fields_ = (("content", ctypes.c_char * 1024),)


def library(name: str = "xllamacpp") -> ctypes.CDLL:
    """The functions of one of the peers."""
    paths = libraries(name)
    loaded = [
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL if len(paths) > 1 else ctypes.DEFAULT_MODE)
        for path in paths
    ]
    found = loaded[-1]
    for function in ("llama_model_default_params", "llama_context_default_params", "llama_batch_get_one"):
        getattr(found, function).restype = Record
    for function in (
        "llama_model_load_from_file",
        "llama_init_from_model",
        "llama_get_memory",
        "llama_model_get_vocab",
    ):
        getattr(found, function).restype = ctypes.c_void_p
    for function in ("llama_get_logits", "llama_get_logits_ith"):
        getattr(found, function).restype = ctypes.POINTER(ctypes.c_float)
    found.llama_memory_seq_rm.restype = ctypes.c_bool
    found.llama_print_system_info.restype = ctypes.c_char_p
    found.llama_log_set(_SILENCE, None)
    if PEERS[name].chooses:
        loaded[-2].ggml_backend_load_all_from_path(str(paths[0].parent).encode())
    return found


class Batch(ctypes.Structure):
    """`llama_batch`."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")),
    )


class LlamaCpp:
    """A model with a sequence, and others only to fill it.

    mapped: weights stay where they are mapped, none are rearranged. n_sequences: more than one for `fill`.
    peer: which build.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        n_ctx: int = 512,
        n_batch: int = 512,
        n_threads: int = 4,
        mapped: bool = False,
        n_sequences: int = 1,
        peer: str = "xllamacpp",
    ) -> None:
        self._llama = llama = library(peer)
        parameters = llama.llama_model_default_params()
        if mapped:
            _clear_extra_buffers(parameters)
        self._model = ctypes.c_void_p(llama.llama_model_load_from_file(str(path).encode(), parameters))
        if not self._model:
            raise ValueError(f"llama.cpp does not load {path}")
        context = llama.llama_context_default_params()
        unified_at = kv_unified(context)
        for at, value in (
            (N_CTX, n_ctx), (N_BATCH, n_batch), (N_UBATCH, n_batch), (N_THREADS, n_threads),
            (N_THREADS_BATCH, n_threads), (FLASH_ATTENTION, 1), (N_SEQ_MAX, n_sequences),
        ):  # fmt: skip
            ctypes.memmove(ctypes.addressof(context) + at, struct.pack("<i", value), 4)
        ctypes.memset(ctypes.addressof(context) + unified_at, 1, 1)
        self._context = ctypes.c_void_p(llama.llama_init_from_model(self._model, context))
        self._memory = ctypes.c_void_p(llama.llama_get_memory(self._context))
        self._vocab = ctypes.c_void_p(llama.llama_model_get_vocab(self._model))
        self.n_vocab = int(llama.llama_vocab_n_tokens(self._vocab))
        self._n_batch = n_batch

    def tokenize(self, text: str) -> list[int]:
        """A text's tokens without any before them; names of special tokens in it are text."""
        raw = text.encode()
        found = np.zeros(2 * len(raw) + 16, np.int32)
        n = self._llama.llama_tokenize(
            self._vocab, raw, len(raw), ctypes.c_void_p(found.ctypes.data), len(found), False, False
        )
        return found[:n].tolist()

    def evaluate(self, tokens: Sequence[int]) -> np.ndarray:
        """Evaluate tokens behind those before; gives the logits after the last, float32 (n_vocab,)."""
        for first in range(0, len(tokens), self._n_batch):
            part = np.array(tokens[first : first + self._n_batch], np.int32)
            batch = self._llama.llama_batch_get_one(ctypes.c_void_p(part.ctypes.data), len(part))
            if self._llama.llama_decode(self._context, batch) != 0:
                raise ValueError("llama.cpp cannot evaluate the tokens")
        logits = self._llama.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, (self.n_vocab,)).copy()

    def evaluate_alone(self, tokens: Sequence[int], n_last: int) -> np.ndarray:
        """Evaluate tokens, a batch at most, without any before them; gives the logits after each of the last.

        float32 (n_last, n_vocab).
        """
        self._llama.llama_memory_clear(self._memory, True)
        wanted = np.zeros(len(tokens), np.int8)
        wanted[-n_last:] = 1
        self._decode(np.array(tokens, np.int32), 0, 0, wanted)
        logits = self._llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (n_last, self.n_vocab)).copy()

    def fill(self, n_tokens: int) -> None:
        """Have so many tokens in the sequence, which see only the ones next to them.

        That is much quicker: each batch is a sequence of its own, and they are joined then.
        """
        firsts = range(0, n_tokens, self._n_batch)
        for sequence, first in enumerate(firsts, 1):
            self._evaluate_at(sequence, first, min(self._n_batch, n_tokens - first))
        for sequence in range(1, len(firsts) + 1):
            self._llama.llama_memory_seq_cp(self._memory, sequence, 0, -1, -1)
            self._llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def _evaluate_at(self, sequence: int, first: int, n: int) -> None:
        """Evaluate random tokens of a sequence, from a position on."""
        tokens = np.random.default_rng(first).integers(0, self.n_vocab, n).astype(np.int32)
        self._decode(tokens, first, sequence, np.zeros(n, np.int8))

    def _decode(self, tokens: np.ndarray, first: int, sequence: int, wanted: np.ndarray) -> None:
        """Evaluate a batch of one sequence, from a position on; wanted: int8, 1 where logits are."""
        n = len(tokens)
        positions, counts = np.arange(first, first + n, dtype=np.int32), np.ones(n, np.int32)
        number = np.array([sequence], np.int32)
        numbers = np.full(n, number.ctypes.data, np.uint64)
        arrays = (tokens, None, positions, counts, numbers, wanted)
        batch = Batch(n, *(None if each is None else each.ctypes.data for each in arrays))
        record = Record()
        ctypes.memmove(ctypes.addressof(record), ctypes.addressof(batch), ctypes.sizeof(batch))
        if self._llama.llama_decode(self._context, record) != 0:
            raise ValueError("llama.cpp cannot evaluate the tokens")

    def rewind(self, n_tokens: int) -> None:
        """Forget all but the first so many tokens."""
        if not self._llama.llama_memory_seq_rm(self._memory, 0, n_tokens, -1):
            raise ValueError("llama.cpp cannot rewind")

    def close(self) -> None:
        """Give the memory back."""
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)


def kv_unified(context: Record) -> int:
    """Where this boolean lies in the context's parameters, which are checked to be laid out as expected."""
    content = bytes(ctypes.string_at(ctypes.addressof(context), 160))
    for at, expected in CONTEXT_DEFAULTS.items():
        [found] = struct.unpack_from("<i", content, at)
        if found != expected:
            raise ValueError(f"llama.cpp's context parameters have {found} at byte {at}, not {expected}")
    flags = [i for i in range(CONTEXT_FLAGS_FROM, 160) if content[i] == 1]
    if len(flags) != N_CONTEXT_FLAGS or flags[-1] - flags[0] != N_CONTEXT_FLAGS - 1:
        raise ValueError(f"llama.cpp's context parameters have other booleans, at {flags}")
    return flags[-1] + 1


def _clear_extra_buffers(parameters: Record) -> None:
    content = bytes(ctypes.string_at(ctypes.addressof(parameters), 96))
    [at] = [i for i in range(MODEL_FLAGS_FROM, 80) if content[i] == 1]
    ctypes.memset(ctypes.addressof(parameters) + at, 0, 1)
