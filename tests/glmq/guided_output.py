"""Outputs of a make-believe model that knows nothing, held to a guide; and vocabularies for it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from glmq.gguf import open_gguf
from glmq.tokenizer import ANSWER_TAGS as TAGS
from glmq.tokenizer import load_tokenizer
from glmq.tokenizer.byte_pairs import byte_characters

from .vocabulary_files import GLM_SPECIAL, write_byte_pairs

WORDS = (
    "ab",
    "abc",
    '{"',
    '",',
    '":',
    "]}",
    "true",
    "12",
    ">{",
    ">Ċ",
    "ĊĊ",
    "</",
    "think",
    "<th",
    "nk>x",
    "na",
)
KINDS = ("text", "user-defined", "control")
"""How a vocabulary has the tags."""

VOCABULARIES = sorted((Path(__file__).parents[3] / "shared" / "vocab").glob("*.gguf"))
NONE = pytest.param(None, marks=pytest.mark.skip(reason="there are no vocabularies in ../shared/vocab"))
real_vocabularies = pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in VOCABULARIES] or [NONE]
)
LIKELY = b'"}]:,<>/0123456789\n'
"""A model that draws all bytes alike would hardly ever end a string."""


def small_tokenizer(folder, kind="text"):
    """All bytes, some words, GLM's special tokens, and the tags as `kind` says."""
    control, user_defined = (TAGS if kind == each else () for each in ("control", "user-defined"))
    tokens = [*byte_characters(), *WORDS]
    path = folder / f"{kind}.gguf"
    special = [*GLM_SPECIAL, *control]
    write_byte_pairs(path, tokens, [], "glm4", special, user_defined, eos=len(tokens), bos=len(tokens) + 1)
    return load_tokenizer(open_gguf(path))


def random_logits(tokenizer, text, seed):
    """Logits that depend on the text so far (bytes) and on nothing else."""
    logits = np.random.default_rng([seed, zlib.crc32(text), len(text)]).standard_normal(tokenizer.n_vocab)
    logits[[tokenizer.token_id(character) for character in map(chr, LIKELY) if character != "\n"]] += 2
    return logits.astype(np.float32)


def guided_output(guide, tokenizer, seed=0, max_tokens=500, fast_forward=True, wanted=()):
    """(tokens, whether it came to an end) of a model that says `wanted` as long as it may, then anything."""
    tokens, wanted, text = [], list(wanted), b""
    while len(tokens) < max_tokens and not guide.finished:
        follow = list(guide.forced()) if fast_forward else []
        if not follow:
            logits = random_logits(tokenizer, text, seed)
            if tokens == wanted[: len(tokens)] != wanted:
                logits[wanted[len(tokens)]] = 1000
            guide.mask(logits)
            assert logits.max() > -np.inf
            follow = [int(logits.argmax())]
        for token in follow:
            if token in tokenizer.eog_ids:
                return tokens, True
            guide.accept(token)
            tokens.append(token)
            text += tokenizer.decode_bytes([token])
    return tokens, guide.finished


def allowed(guide, n_vocab):
    """The tokens that a guide's mask leaves."""
    logits = np.zeros(n_vocab, np.float32)
    guide.mask(logits)
    assert set(logits.tolist()) <= {0, -np.inf}
    return set(np.flatnonzero(np.isfinite(logits)).tolist())
