"""The tokenizer of a GGUF file: text to token ids and back, with the same ids as llama.cpp."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from glmq_kernels.errors import GlmqError

from .byte_pairs import BytePairs, pre_tokenizer_of
from .sentence_pieces import SentencePieces
from .streaming import StreamDecoder
from .vocabulary import CONTROL, UNKNOWN, UNUSED, USER_DEFINED, Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from ..gguf import GGUFFile


ANSWER_TAGS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>",
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
)  # fmt: skip
"""Tokens that give a GLM answer its structure; some files have them as special ones."""


class PlainText(Protocol):
    """An encoding of text without special tokens."""

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Token ids. after_special: the text is the first or follows a special token."""

    def token_bytes(self, token: int) -> bytes:
        """What a token stands for."""


class Tokenizer:
    """Encodes and decodes.

    add_bos: whether the file wants its bos token before a text. eog_ids: tokens that end a generation.
    special_ids: those without text of their own. whole_ids: these and all others that stand for their names
    wherever a text holds them. unused_ids: those that only fill the vocabulary up.
    """

    def __init__(
        self, vocabulary: Vocabulary, plain_text: PlainText, add_bos: bool, add_space_prefix: bool
    ) -> None:
        self.bos_id, self.eos_id = vocabulary.bos_id, vocabulary.eos_id
        self.eog_ids = vocabulary.eog_ids
        self.add_bos = add_bos and self.bos_id is not None
        self._vocabulary = vocabulary
        self._plain_text = plain_text
        self._add_space_prefix = add_space_prefix
        user_defined = frozenset(vocabulary.of_type(USER_DEFINED))
        self.special_ids = (user_defined & self.eog_ids).union(vocabulary.of_type(CONTROL, UNKNOWN))
        self.whole_ids = user_defined | self.special_ids
        self.unused_ids = frozenset(vocabulary.of_type(UNUSED))
        self._always_whole = _longest_first(vocabulary, user_defined - self.special_ids)
        self._whole = _longest_first(vocabulary, self.whole_ids)

    @property
    def n_vocab(self) -> int:
        """Number of tokens."""
        return len(self._vocabulary)

    def encode(
        self, text: str, *, special: bool = True, add_bos: bool = False, after_text: bool = False
    ) -> list[int]:
        """Token ids of a text.

        special: names of special tokens in it stand for these tokens. after_text: it continues another
        text, so that no space is put before it, as some vocabularies do at the start.
        """
        text = text.encode("utf-8", "replace").decode()
        ids = [self.bos_id] if add_bos and self.bos_id is not None else []
        after_special = not after_text
        for part in _cut(text, self._whole if special else self._always_whole):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._plain_text.encode(part, after_special)
            after_special = isinstance(part, int)
        return ids

    def encode_between(self, text: str) -> list[int]:
        """Token ids of a text between two special tokens; names of tokens in it are text like any other."""
        return self._plain_text.encode(text.encode("utf-8", "replace").decode(), True)

    def decode(self, ids: Iterable[int], *, special: bool = True) -> str:
        """The text of token ids. `special`: special tokens appear with their names."""
        text = self.decode_bytes(ids, special=special).decode("utf-8", "replace")
        return text.removeprefix(" ") if self._add_space_prefix else text

    def decode_bytes(self, ids: Iterable[int], *, special: bool = True) -> bytes:
        """The bytes of token ids, which need not be whole characters."""
        return b"".join(self._token_bytes(token, special) for token in ids)

    def every_token(self) -> list[bytes]:
        """The bytes of every token, special ones by name."""
        return [self._plain_text.token_bytes(token) for token in range(self.n_vocab)]

    def token_text(self, token: int) -> str:
        """One token for display."""
        return self._token_bytes(token, True).decode("utf-8", "replace")

    def token_id(self, text: str) -> int | None:
        """The id of the token that the file calls `text`, such as "<|user|>"."""
        return self._vocabulary.ids.get(text)

    def parts(self, text: str) -> list[str | int]:
        """A text cut at the tokens that always stand for their names: ids of these, and text to encode."""
        return _cut(text.encode("utf-8", "replace").decode(), self._whole)

    def stream(self) -> StreamDecoder:
        """A decoder for tokens that come one by one. Of special tokens it shows ANSWER_TAGS alone."""
        tags = {self.token_id(tag) for tag in ANSWER_TAGS}
        return StreamDecoder(lambda token: self._token_bytes(token, token in tags))

    def _token_bytes(self, token: int, special: bool) -> bytes:
        if not 0 <= token < self.n_vocab:
            raise GlmqError(f"token {token} is not in the vocabulary (0 to {self.n_vocab - 1})")
        if token in self.special_ids and not special:
            return b""
        return self._plain_text.token_bytes(token)


def load_tokenizer(file: GGUFFile) -> Tokenizer:
    """The tokenizer that a file describes. Raises GlmqError for one that is not known or is damaged."""
    model = file.text("tokenizer.ggml.model", "")
    if model not in ("gpt2", "llama"):
        what = f"a tokenizer of the kind {model!r}" if model else "no tokenizer"
        raise GlmqError(
            f"{file.path} has {what}; glmq knows 'gpt2' (byte-level BPE) and 'llama' (SentencePiece)"
        )
    vocabulary = read_vocabulary(file)
    plain_text: PlainText
    if model == "gpt2":
        plain_text, add_space_prefix = BytePairs(file, vocabulary), False
        add_bos = pre_tokenizer_of(file).add_bos
    else:
        plain_text = SentencePieces(file, vocabulary)
        add_bos, add_space_prefix = True, plain_text.add_space_prefix
    add_bos = file.boolean("tokenizer.ggml.add_bos_token", add_bos)
    return Tokenizer(vocabulary, plain_text, add_bos, add_space_prefix)


def _longest_first(vocabulary: Vocabulary, ids: frozenset[int]) -> list[tuple[str, int]]:
    found = [(vocabulary.texts[token], token) for token in ids if vocabulary.texts[token]]
    return sorted(found, key=lambda each: (-len(each[0].encode()), each[1]))


def _cut(text: str, whole: Sequence[tuple[str, int]]) -> list[str | int]:
    """Text cut at special tokens: longer ones first, each from left to right."""
    parts: list[str | int] = [text] if text else []
    for name, token in whole:
        if name not in text:
            continue
        cut: list[str | int] = []
        for part in parts:
            if isinstance(part, int):
                cut.append(part)
                continue
            first, *others = part.split(name)
            cut += [first] if first else []
            for other in others:
                cut += [token, other] if other else [token]
        parts = cut
    return parts
