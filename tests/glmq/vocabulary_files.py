"""Small GGUF files that hold a vocabulary only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gguf

from glmq.tokenizer.vocabulary import CONTROL, NORMAL, USER_DEFINED

GLM_SPECIAL = (
    "<|endoftext|>",
    "[gMASK]",
    "<sop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
)


def write_byte_pairs(
    path: Path,
    tokens: Sequence[str],
    merges: Sequence[str],
    pre: str | None = "glm4",
    special: Sequence[str] = (),
    user_defined: Sequence[str] = (),
    **ids: int,
) -> None:
    """A byte-level BPE vocabulary; at its end control tokens, then user-defined ones; ids: such as eos=3."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([*tokens, *special, *user_defined])
    types = [NORMAL] * len(tokens) + [CONTROL] * len(special) + [USER_DEFINED] * len(user_defined)
    writer.add_token_types(types)
    if merges:
        writer.add_token_merges(list(merges))
    for kind in ("bos", "eos"):
        ids.setdefault(kind, 0)
    for kind, token in ids.items():
        writer.add_uint32(f"tokenizer.ggml.{kind}_token_id", token)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
