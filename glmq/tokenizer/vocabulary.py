"""The vocabulary of a GGUF file: its tokens, which of them are special, and which end a generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from glmq_kernels.errors import UserError

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
        "<|return|>",
        "<|call|>",
        "<EOT>",
        "[EOS]",
        "[EOT]",
        "</s>",
        "<eos>",
        "<｜end▁of▁sentence｜>",
    )
)
"""Special tokens that end a generation whether or not the metadata says so."""

GLM_END_TEXTS = frozenset(("<|user|>", "<|observation|>"))
"""The same for GLM: the turn of the user or of a tool begins."""

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
    """The vocabulary of a file. Raises UserError where there is none or it is damaged."""
    from ..gguf import StringArray

    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, StringArray) or not len(tokens):
        raise UserError(f"{file.path} holds no tokenizer (tokenizer.ggml.tokens); convert the model anew")
    texts = tokens.to_list()
    ids: dict[str, int] = {}
    for i, text in enumerate(texts):
        ids.setdefault(text, i)
    types = _types(file, len(texts))
    bos_id, eos_id = (_special_id(file, kind, len(texts)) for kind in ("bos", "eos"))
    return Vocabulary(texts, types, ids, bos_id, eos_id, _eog_ids(file, ids, types))


def _types(file: GGUFFile, n: int) -> np.ndarray:
    types = file.metadata.get("tokenizer.ggml.token_type")
    if types is None:
        return np.full(n, NORMAL, np.int32)
    if not isinstance(types, np.ndarray) or len(types) != n or types.dtype.kind not in "iu":
        raise UserError(
            f"{file.path}: tokenizer.ggml.token_type does not fit the {n} tokens; the file is damaged"
        )
    return types.astype(np.int32)


def _special_id(file: GGUFFile, kind: str, n: int) -> int | None:
    found = file.metadata.get(f"tokenizer.ggml.{kind}_token_id")
    return int(found) if isinstance(found, int) and 0 <= found < n else None


def _eog_ids(file: GGUFFile, ids: Mapping[str, int], types: np.ndarray) -> frozenset[int]:
    named = (_special_id(file, kind, len(types)) for kind in ("eos", "eot", "eom"))
    is_glm = file.metadata.get("tokenizer.ggml.pre") in GLM_PRE_TOKENIZERS
    texts = END_TEXTS | GLM_END_TEXTS if is_glm else END_TEXTS
    special = {ids[text] for text in texts if text in ids and types[ids[text]] in (CONTROL, USER_DEFINED)}
    return frozenset(special.union(found for found in named if found is not None))
