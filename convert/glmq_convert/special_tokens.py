"""Which tokens begin and end texts, as `tokenizer.ggml.*_token_id` metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
from glmq_kernels.errors import GlmqError

from .json_fields import checked_text, errors_in, flag, read_object, shown, table, tables, whole

GLM_TOKENS = {"bos": "[gMASK]", "eot": "<|user|>", "unk": "<|endoftext|>", "eom": "<|observation|>"}
"""What llama.cpp's conversion of Glm4Moe says of GLM's own tokens; eos comes from the checkpoint's files."""

GLM_MARK = "[gMASK]"
"""The token by which a tokenizer is known as GLM's."""

KINDS = ("bos", "eos", "unk", "sep", "pad", "mask")
ADDED_KINDS = ("bos", "eos", "sep")
END_IDS = "tokenizer.ggml.eos_token_ids"


def add_special_tokens(
    writer: gguf.GGUFWriter,
    folder: Path,
    settings: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    ids: Mapping[str, int],
    vocab_size: int,
) -> None:
    """Write the ids of special tokens, all ends among them, and which are added to a text.

    settings, tokenizer: the content of tokenizer_config.json and of tokenizer.json. ids: of the tokens
    outside the BPE by their texts.
    """
    found: dict[str, int] = {}
    with errors_in(folder / "tokenizer_config.json"):
        texts = {kind: _token_text(settings, f"{kind}_token") for kind in KINDS}
        found |= {kind: ids[text] for kind, text in texts.items() if text is not None and text in ids}
        added = {
            kind: flag(settings, f"add_{kind}_token", False)
            for kind in ADDED_KINDS
            if settings.get(f"add_{kind}_token") is not None
        }
    with errors_in(folder / "tokenizer.json"):
        added = _added_by_template(tokenizer, texts) | added
    ends: list[int] = []
    for name in ("config.json", "generation_config.json"):
        content = read_object(folder / name) if (folder / name).is_file() else {}
        with errors_in(folder / name):
            for kind in KINDS:
                given = list(_ids(content, f"{kind}_token_id", vocab_size))
                found = {kind: given[0], **found} if given else found
                ends += given if kind == "eos" else []
    if GLM_MARK in ids:
        found |= {kind: ids[text] for kind, text in GLM_TOKENS.items() if text in ids}
    for kind, token in found.items():
        getattr(writer, f"add_{kind}_token_id")(token)
    if ends:
        writer.add_array(END_IDS, sorted(set(ends)))
    for kind, value in added.items():
        getattr(writer, f"add_add_{kind}_token")(value)


def _token_text(settings: Mapping[str, Any], key: str) -> str | None:
    """A special token's text, which transformers 4 keeps with its properties."""
    value = settings.get(key)
    if isinstance(value, dict):
        value = value.get("content")
    return None if value is None else checked_text(value, key)


def _added_by_template(tokenizer: Mapping[str, Any], texts: Mapping[str, str | None]) -> dict[str, bool]:
    """Whether the post-processor of a tokenizer.json puts bos before a text, and eos behind it."""
    post = table(tokenizer, "post_processor")
    steps = tables(post, "processors") if "processors" in post else [post]
    added = {}
    for step in steps:
        if step.get("type") == "TemplateProcessing":
            single = tables(step, "single")
            for kind, part in zip(("bos", "eos"), (single[:1], single[1:][-1:]), strict=True):
                token = table(part[0], "SpecialToken").get("id") if part else None
                if token is not None:
                    added[kind] = token == texts[kind]
    return added


def _ids(content: Mapping[str, Any], key: str, vocab_size: int) -> Iterator[int]:
    """Token ids under a key that has none, one or a list; not those past the vocabulary."""
    value = content.get(key)
    for entry in value if isinstance(value, list) else [] if value is None else [value]:
        if entry == -1 and not isinstance(value, list):
            continue
        token = whole({key: entry}, key, 0, least=0)
        if token >= vocab_size:
            raise GlmqError(f"{key} is {shown(token)}, past the vocabulary's {vocab_size} tokens")
        yield token
