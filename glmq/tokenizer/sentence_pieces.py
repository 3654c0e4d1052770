"""SentencePiece byte-pair vocabularies (`tokenizer.ggml.model` "llama"), with the `sentencepiece` library.

The library reads its models as protocol buffers
(https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto), so the vocabulary of
the GGUF file is written as one.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import numpy as np
from glmq_kernels.errors import GlmqError

from ..optional_packages import optional_packages
from .vocabulary import BYTE, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary

if TYPE_CHECKING:
    from ..gguf import GGUFFile

SPACE = "\u2581"
MODEL_TYPE_BPE = 2


class SentencePieces:
    """Encodes plain text and gives the bytes of tokens."""

    def __init__(self, file: GGUFFile, vocabulary: Vocabulary) -> None:
        with optional_packages():
            import sentencepiece

        self._vocabulary = vocabulary
        self.add_space_prefix = file.boolean("tokenizer.ggml.add_space_prefix", True)
        scores = file.metadata.get("tokenizer.ggml.scores")
        if not isinstance(scores, np.ndarray) or len(scores) != len(vocabulary):
            raise GlmqError(
                f"{file.path}: tokenizer.ggml.scores does not fit the {len(vocabulary)} tokens;"
                " the file is damaged"
            )
        if UNKNOWN not in vocabulary.types:
            raise GlmqError(
                f"{file.path}: the vocabulary has no token of the type 'unknown'; convert the model anew"
            )
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model_proto(vocabulary, scores))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise GlmqError(
                f"{file.path}: its vocabulary cannot be read: {reason}; convert the model anew"
            ) from None

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Token ids of text without special tokens, at the start or `after_special`: a space precedes it."""
        if self.add_space_prefix and after_special:
            text = " " + text
        ids: list[int] = self._processor.EncodeAsIds(text.replace(" ", SPACE))
        return ids

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for."""
        text, kind = self._vocabulary.texts[token], self._vocabulary.types[token]
        if kind == BYTE and (found := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", text)):
            return bytes([int(found[1], 16)])
        return (text.replace(SPACE, " ") if kind in (NORMAL, USER_DEFINED) else text).encode()


def model_proto(vocabulary: Vocabulary, scores: np.ndarray) -> bytes:
    """A serialized ModelProto: the pieces, and no normalization at all."""
    pieces = []
    unknown = vocabulary.of_type(UNKNOWN)[0]
    for i, text in enumerate(vocabulary.texts):
        kind = int(vocabulary.types[i])
        if kind == UNKNOWN and i != unknown:
            kind = NORMAL  # the library wants exactly one
        piece = _bytes_field(1, text.encode()) + _float_field(2, float(scores[i])) + _number_field(3, kind)
        pieces.append(_bytes_field(1, piece))
    trainer = _number_field(3, MODEL_TYPE_BPE) + _number_field(35, int(BYTE in vocabulary.types))
    trainer += _number_field(40, unknown)
    normalizer = _bytes_field(1, b"identity") + b"".join(_number_field(field, 0) for field in (3, 4, 5))
    return b"".join(pieces) + _bytes_field(2, trainer) + _bytes_field(3, normalizer)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number_field(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float_field(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes_field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
