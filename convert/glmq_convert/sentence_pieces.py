"""SentencePiece byte-pair vocabularies to `tokenizer.ggml.*`: of tokenizer.model, or of a tokenizer.json.

What GGUF calls the tokenizer model "llama" merges, of all neighbours, the two whose joined text has the
highest score. A tokenizer.model has these scores. A tokenizer.json made of one has the merges in their order
instead, so that a token's score is how early the first merge is that makes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
from glmq_kernels.errors import GlmqError

from .json_fields import checked_text, flag, shown, table, text
from .tokenizer_json import check_within, merged_pairs, steps, vocabulary_by_number

SPACE = "\u2581"
ADDED_SCORE, PADDING_SCORE = -1000.0, -10000.0
"""Of tokens that no merge makes, as llama.cpp's conversion has them."""

STEPS = ("Prepend", "Replace")
"""Normalizers that put SPACE in place of spaces, and one before a text."""


@dataclass(frozen=True)
class Piece:
    """A token: its text, score and `gguf.TokenType`."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class PieceVocabulary:
    """Pieces by their numbers; whether a space is put before a text; remarks for the user."""

    pieces: Mapping[int, Piece]
    add_space_prefix: bool
    remarks: list[str]


def read_model(path: Path) -> PieceVocabulary:
    """The vocabulary of a tokenizer.model. Raises GlmqError when it is damaged or has no byte pairs."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(path.read_bytes())
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except RuntimeError:
        raise GlmqError(f"{path} is no SentencePiece model or is damaged; download it again") from None
    pieces = {}
    for i in range(processor.GetPieceSize()):
        kind, found = _type(processor, i), processor.IdToPiece(i)
        pieces[i] = Piece(checked_text(found, f"token {i}"), processor.GetScore(i), kind)
    if not all(p.score.is_integer() for p in pieces.values() if p.type == gguf.TokenType.NORMAL):
        raise GlmqError(
            f"{path} is a unigram model, whose scores are probabilities; glmq converts byte pairs (BPE)"
        )
    remarks = []
    if processor.Normalize("\ufb01 \uff21") != "\ufb01 \uff21".replace(" ", SPACE):
        remarks.append("the tokenizer normalizes text, which GGUF has no place for: left out")
    return PieceVocabulary(pieces, processor.EncodeAsPieces("a")[0].startswith(SPACE), remarks)


def _type(processor: Any, i: int) -> int:
    kinds = {
        gguf.TokenType.UNKNOWN: processor.IsUnknown, gguf.TokenType.CONTROL: processor.IsControl,
        gguf.TokenType.UNUSED: processor.IsUnused, gguf.TokenType.BYTE: processor.IsByte,
    }  # fmt: skip
    return int(next((kind for kind, has in kinds.items() if has(i)), gguf.TokenType.NORMAL))


def is_of_pieces(content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json was made of a SentencePiece model: its bytes are tokens of their own."""
    model = table(content, "model")
    return text(model, "type") == "BPE" and flag(model, "byte_fallback", False)


def vocabulary_of_json(content: Mapping[str, Any]) -> PieceVocabulary:
    """The vocabulary of such a tokenizer.json."""
    model = table(content, "model")
    unknown = text(model, "unk_token")
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merged_pairs(model)):
        ranks.setdefault("".join(pair), rank)
    pieces = {}
    for token_id, found in vocabulary_by_number(model).items():
        kind = gguf.TokenType.NORMAL
        if found == unknown:
            kind = gguf.TokenType.UNKNOWN
        elif re.fullmatch("<0x[0-9A-F]{2}>", found):
            kind = gguf.TokenType.BYTE
        pieces[token_id] = Piece(found, -float(ranks.get(found, len(ranks) + token_id)), int(kind))
    prefix, remarks = _spaces(content)
    return PieceVocabulary(pieces, prefix, remarks)


def _spaces(content: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Whether a space is put before a text, and remarks on what else is done to it."""
    prefix, remarks = False, []
    for step in steps(table(content, "normalizer"), "normalizers"):
        kind = text(step, "type")
        prefix |= kind == "Prepend"
        if kind not in (*STEPS, None):
            remarks.append(
                f"the tokenizer normalizes text ({shown(kind)}), which GGUF has no place for: left out"
            )
    for step in steps(table(content, "pre_tokenizer"), "pretokenizers"):
        if text(step, "type") == "Metaspace":
            scheme = text(step, "prepend_scheme")
            prefix |= scheme != "never" if scheme else flag(step, "add_prefix_space", True)
    return prefix, remarks


def add_pieces(
    writer: gguf.GGUFWriter,
    vocabulary: PieceVocabulary,
    added: Mapping[int, Mapping[str, Any]],
    vocab_size: int,
) -> dict[str, int]:
    """Write the tokenizer, padded to `vocab_size` tokens; gives the ids of tokens that are no plain text.

    added: tokens outside the vocabulary, or of it with other properties, as tokenizer_config.json has them.
    """
    pieces = {**vocabulary.pieces, **dict(_added(vocabulary, added))}
    check_within({i: piece.text for i, piece in pieces.items()}, vocab_size)
    unused = int(gguf.TokenType.UNUSED)
    tokens = [pieces.get(i) or Piece(f"[PAD{i}]", PADDING_SCORE, unused) for i in range(vocab_size)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token.text for token in tokens])
    writer.add_token_scores([token.score for token in tokens])
    writer.add_token_types([token.type for token in tokens])
    writer.add_add_space_prefix(vocabulary.add_space_prefix)
    plain = (gguf.TokenType.NORMAL, gguf.TokenType.BYTE, gguf.TokenType.UNUSED)
    return {token.text: i for i, token in pieces.items() if token.type not in plain}


def _added(
    vocabulary: PieceVocabulary, added: Mapping[int, Mapping[str, Any]]
) -> Iterator[tuple[int, Piece]]:
    for token_id, token in added.items():
        before = vocabulary.pieces.get(token_id)
        if before and before.text == token["content"] and before.type == gguf.TokenType.UNKNOWN:
            continue
        kind = gguf.TokenType.CONTROL if flag(token, "special", False) else gguf.TokenType.USER_DEFINED
        yield token_id, Piece(token["content"].replace(SPACE, " "), ADDED_SCORE, int(kind))
