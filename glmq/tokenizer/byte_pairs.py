"""Byte-level byte-pair encoding (`tokenizer.ggml.model` "gpt2"), with the `tokenizers` library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from glmq_kernels.errors import GlmqError

from .pre_tokenizers import PRE_TOKENIZERS, PreTokenizer
from .vocabulary import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary

if TYPE_CHECKING:
    from ..gguf import GGUFFile


NAMED = (CONTROL, UNKNOWN, USER_DEFINED)
"""Types of tokens that stand for a name in a text, and are no parts of plain text."""


def pre_tokenizer_of(file: GGUFFile) -> PreTokenizer:
    """How the file wants text to be cut. Raises GlmqError for a way that is not known."""
    name = file.text("tokenizer.ggml.pre", "default")
    if name not in PRE_TOKENIZERS:
        raise GlmqError(
            f"{file.path} uses the pre-tokenizer {name!r}, which glmq does not know; GLM models use 'glm4'"
        )
    return PRE_TOKENIZERS[name]


LONG_TEXT = 2000
"""Characters from which on a text is encoded as a batch of one: tokenizers lets other threads of Python run
meanwhile for batches only."""

NO_BYTE = 0x100
"""What letters become that are bytes themselves and do not stand for one."""


class BytePairs:
    """Encodes plain text and gives the bytes of tokens."""

    def __init__(self, file: GGUFFile, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = _build(file, vocabulary, pre_tokenizer_of(file))
        stands_for = {ord(character): byte for byte, character in enumerate(byte_characters())}
        self._bytes = dict.fromkeys(range(0x100), NO_BYTE) | stands_for

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Token ids of text without special tokens."""
        if len(text) < LONG_TEXT:
            encoded = self._tokenizer.encode(text, add_special_tokens=False)
        else:
            [encoded] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoded.ids
        return ids

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for."""
        text = self._vocabulary.texts[token]
        if self._vocabulary.types[token] != NORMAL:
            return text.encode()
        try:
            return text.translate(self._bytes).encode("latin-1")
        except UnicodeEncodeError:  # it has letters that stand for no byte
            return text.encode()


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level vocabularies (GPT-2's encoder.py)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _build(file: GGUFFile, vocabulary: Vocabulary, pre: PreTokenizer) -> Any:
    # Without a choice it warns at each fork of the process once a batch was encoded.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from tokenizers.models import BPE

    from ..gguf import StringArray

    lines = file.metadata.get("tokenizer.ggml.merges")
    merges = [tuple(line.split(" ", 1)) for line in lines] if isinstance(lines, StringArray) else []
    is_sound = lines is None or isinstance(lines, StringArray)
    if not is_sound or any(len(merge) != 2 for merge in merges):
        raise GlmqError(
            f"{file.path}: tokenizer.ggml.merges holds a line that is not two tokens; the file is damaged"
        )
    ids = vocabulary.ids
    known = [
        (a, b) for a, b in merges if a in ids and b in ids and a + b in ids
    ]  # the library wants all three
    # A piece such as "/nothink" would be taken whole where it is the name of a token that is not plain text.
    merged = {each for a, b in known for each in (a, b, a + b)}
    plain = {
        text: token for text, token in ids.items() if vocabulary.types[token] not in NAMED or text in merged
    }
    model = BPE(plain, known, ignore_merges=pre.ignore_merges)
    tokenizer = Tokenizer(model)
    splits = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in pre.expressions]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    return tokenizer
