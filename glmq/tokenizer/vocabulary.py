"""The vocabulary of a GGUF file: its tokens, which of them are special, and which end a generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from glmq_kernels.errors import GlmqError

if TYPE_CHECKING:
    from ..gguf import GGUFFile

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Values of `tokenizer.ggml.token_type`."""

END_TEXTS = frozenset(
    (
        "<|endoftext|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|end_of_text|>",
        "<end_of_turn>",
        "<end_of_utterance>",
        "<|return|>",
        "<|call|>",
        "<|calls|>",
        "<|flush|>",
        "<EOT>",
        "_<EOT>",
        "[EOS]",
        "[EOT]",
        "[e~[",
        "</s>",
        "<eos>",
        "<turn|>",
        "<|tool_response>",
        "<｜end▁of▁sentence｜>",
        # What fills up or separates files of code.
        "<|fim_pad|>",
        "<|fim_repo|>",
        "<|repo_name|>",
        "<|file_sep|>",
    )
)
"""Special tokens that end a generation whether or not the metadata says so (src/llama-vocab.cpp)."""

END_OF_A_PART = "<|end|>"
PART_ENDS_ONLY = ({"<|return|>", "<|call|>"}, {"<|flush|>", "<|call|>"}, {"<|flush|>", "<|calls|>"})
"""In vocabularies with these, `<|end|>` ends but a part of an answer, such as its thinking."""

GLM_END_TEXTS = frozenset(("<|endoftext|>", "<|user|>", "<|observation|>"))
"""The same for GLM, whatever their type: the text ends, or the turn of the user or of a tool begins."""

END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id", "eos_token_ids")
"""What the metadata calls them, one or an array."""

GLM_PRE_TOKENIZERS = frozenset(("glm4", "chatglm-bpe"))


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id.

    texts: as the file has them (byte-level or with U+2581 for spaces). types: int32 (n_vocab,), the
    constants above. ids: of each text. bos_id, eos_id: None where the file has none. eog_ids: every
    token that ends a generation.
    """

    texts: list[str]
    types: np.ndarray
    ids: dict[str, int]
    bos_id: int | None
    eos_id: int | None
    eog_ids: frozenset[int]

    def __len__(self) -> int:
        return len(self.texts)

    def of_type(self, *types: int) -> list[int]:
        """Ids of the tokens of these types."""
        found: list[int] = np.flatnonzero(np.isin(self.types, types)).tolist()
        return found


def read_vocabulary(file: GGUFFile) -> Vocabulary:
    """The vocabulary of a file. Raises GlmqError where there is none or it is damaged."""
    from ..gguf import StringArray

    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, StringArray) or not len(tokens):
        raise GlmqError(f"{file.path} holds no tokenizer (tokenizer.ggml.tokens); convert the model anew")
    texts = tokens.to_list()
    ids: dict[str, int] = {}
    for i, text in enumerate(texts):
        ids.setdefault(text, i)
    types = _types(file, len(texts))
    bos_id, eos_id = (
        next(iter(_named_ids(file, name, len(texts))), None) for name in ("bos_token_id", "eos_token_id")
    )
    return Vocabulary(texts, types, ids, bos_id, eos_id, _eog_ids(file, ids, types))


def _types(file: GGUFFile, n: int) -> np.ndarray:
    types = file.metadata.get("tokenizer.ggml.token_type")
    if types is None:
        return np.full(n, NORMAL, np.int32)
    if not isinstance(types, np.ndarray) or len(types) != n or types.dtype.kind not in "iu":
        raise GlmqError(
            f"{file.path}: tokenizer.ggml.token_type does not fit the {n} tokens; the file is damaged"
        )
    if types.min() < 0 or types.max() > BYTE:
        raise GlmqError(f"{file.path}: tokenizer.ggml.token_type holds unknown types; the file is damaged")
    return types.astype(np.int32)


def _named_ids(file: GGUFFile, name: str, n: int) -> list[int]:
    """Token ids under a key of the tokenizer, which has one or an array; not those past the vocabulary."""
    key = f"tokenizer.ggml.{name}"
    found = file.metadata.get(key)
    if found is None:
        return []
    if isinstance(found, np.ndarray) and found.dtype.kind in "iu":
        return [token for token in found[:n].tolist() if 0 <= token < n]
    token = file.integer(key, least=-1)
    return [token] if 0 <= token < n else []


def _eog_ids(file: GGUFFile, ids: Mapping[str, int], types: np.ndarray) -> frozenset[int]:
    named = {token for key in END_KEYS for token in _named_ids(file, key, len(types))}
    are_typed = "tokenizer.ggml.token_type" in file.metadata
    marked = {
        text
        for text in END_TEXTS & ids.keys()
        if types[ids[text]] in (CONTROL, USER_DEFINED) or not are_typed
    }
    if any(texts <= marked for texts in PART_ENDS_ONLY):
        marked.discard(END_OF_A_PART)
    is_glm = (
        file.metadata.get("general.architecture") == "glm4moe"
        or file.text("tokenizer.ggml.pre", "") in GLM_PRE_TOKENIZERS
    )
    if is_glm:
        marked |= GLM_END_TEXTS & ids.keys()
    return frozenset(named.union(ids[text] for text in marked))
