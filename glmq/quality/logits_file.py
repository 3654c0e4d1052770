"""Files of a base model's predictions in the format of llama.cpp's `--kl-divergence-base`.

    "_logits_"  n_ctx u32   n_vocab i32   n_chunks i32   tokens i32 (n_chunks, n_ctx)
    for each counted prediction of each chunk a row of u16:
        scale f32   least f32   codes (n_vocab, and one more where that is odd)

    ln p = scale · code + least

Numbers are little-endian. What is less likely than the likeliest token by more than e¹⁶ has code 0.
https://github.com/ggml-org/llama.cpp/tree/master/tools/perplexity
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Kind, Target, cannot_be_written, check_target, replacing

from .chunks import Chunks
from .log_softmax import log_sums

MAGIC = b"_logits_"
HEADER = struct.Struct("<8sIii")
LARGEST_CODE = 65535
WIDEST = 16.0
"""How much less than the greatest logit is told apart."""
HEAD_CODES = 4
"""Places of 16 bits that scale and least value take."""


def _row_codes(n_vocab: int) -> int:
    return 2 * ((n_vocab + 1) // 2) + HEAD_CODES


def _is_logits_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


LOGITS_FILE = Kind("a file of a base model's predictions", _is_logits_file)


class LogitsWriter:
    """Takes a model's counted predictions in the order of the chunks; see `writing_logits`."""

    def __init__(self, file: BinaryIO, chunks: Chunks, n_vocab: int) -> None:
        self._file, self._n_vocab = file, n_vocab
        file.write(HEADER.pack(MAGIC, chunks.n_ctx, n_vocab, len(chunks)))
        file.write(chunks.tokens.astype("<i4").tobytes())

    def add(self, logits: np.ndarray) -> None:
        """Write rows of float32 (n, n_vocab)."""
        for row, log_sum in zip(logits, log_sums(logits), strict=True):
            self._file.write(_packed(row, log_sum).tobytes())


@contextmanager
def writing_logits(target: Target, chunks: Chunks, n_vocab: int) -> Iterator[LogitsWriter]:
    """A writer whose file appears when the block ends well. Raises GlmqError when it cannot be written."""
    try:
        with replacing(target) as unfinished, unfinished.open("wb") as file:
            yield LogitsWriter(file, chunks, n_vocab)
    except OSError as error:
        raise cannot_be_written(target.path, error) from None


def check_logits_target(path: Path, *, force: bool = False) -> Target:
    """Where such a file goes, in place of an earlier one too. Raises GlmqError when it cannot go there."""
    return check_target(path, LOGITS_FILE, force=force)


def logits_file_bytes(chunks: Chunks, n_vocab: int) -> int:
    """Size of the file."""
    return HEADER.size + chunks.tokens.nbytes + len(chunks) * chunks.n_counted * 2 * _row_codes(n_vocab)


def _packed(logits: np.ndarray, log_sum: float) -> np.ndarray:
    """A row of the file, uint16."""
    greatest = logits.max()
    least = max(logits.min(), greatest - np.float32(WIDEST))
    scale = np.float32((greatest - least) / np.float32(LARGEST_CODE))
    row = np.zeros(_row_codes(len(logits)), "<u2")
    row[:HEAD_CODES].view("<f4")[:] = scale, least - log_sum
    if scale > 0:
        codes = np.rint((logits - least) * (np.float32(1) / scale))
        row[HEAD_CODES : HEAD_CODES + len(logits)] = np.clip(codes, 0, LARGEST_CODE)
    return row


class LogitsFile:
    """A base model's predictions, read as they are needed.

    tokens: of the text's chunks, int32 (n_chunks, n_ctx). n_vocab: entries of the logits.
    """

    def __init__(self, path: Path) -> None:
        """Raises GlmqError when the file cannot be read, or is none or not whole."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise GlmqError(f"{path} is not a file that could hold predictions; name another")
            with path.open("rb") as file:
                header, size = file.read(HEADER.size), path.stat().st_size
        except OSError as error:
            raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
        if not header.startswith(MAGIC) or len(header) < HEADER.size:
            raise GlmqError(f"{path} is no file of a base model's predictions; write one with the base model")
        _, n_ctx, self.n_vocab, n_chunks = HEADER.unpack(header)
        wanted = HEADER.size + 4 * n_chunks * n_ctx
        n_rows = n_chunks * (n_ctx - 1 - n_ctx // 2)
        whole = wanted + n_rows * 2 * _row_codes(self.n_vocab)
        if n_chunks < 1 or n_ctx < 4 or self.n_vocab < 1 or size != whole:
            raise GlmqError(
                f"{path} is not whole: it has {size:,} bytes, where its header asks for {whole:,};"
                " write it again with the base model"
            )
        tokens = np.fromfile(path, "<i4", n_chunks * n_ctx, offset=HEADER.size).reshape(n_chunks, n_ctx)
        if tokens.min() < 0 or tokens.max() >= self.n_vocab:
            raise GlmqError(f"{path} is damaged: its text has tokens that its vocabulary does not have")
        self.path, self.tokens = path, tokens
        self._rows = np.memmap(path, "<u2", "r", wanted, (n_rows, _row_codes(self.n_vocab)))

    @property
    def n_ctx(self) -> int:
        """Tokens of a chunk."""
        return int(self.tokens.shape[1])

    def require_text(self, tokens: np.ndarray) -> None:
        """Raise GlmqError when the file is of another text than one that begins with these tokens."""
        held = self.tokens.ravel()
        if not np.array_equal(held, tokens[: held.size]):
            raise GlmqError(f"{self.path} was written of another text, or with another tokenizer")

    def log_probabilities(self, first: int, n: int) -> np.ndarray:
        """ln p of every token, float32 (n, n_vocab), of consecutive counted predictions of all chunks."""
        rows = self._rows[first : first + n]
        head = np.ascontiguousarray(rows[:, :HEAD_CODES]).view("<f4")
        codes = rows[:, HEAD_CODES : HEAD_CODES + self.n_vocab]
        found: np.ndarray = codes * head[:, :1] + head[:, 1:]
        return found
