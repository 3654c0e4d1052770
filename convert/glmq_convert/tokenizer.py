"""tokenizer.json and its companions to `tokenizer.ggml.*` metadata, as llama.cpp's conversion writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
from glmq_kernels.errors import UserError

SPECIAL_TOKENS = {"bos": "[gMASK]", "eot": "<|user|>", "unk": "<|endoftext|>", "eom": "<|observation|>"}
"""What llama.cpp's conversion of Glm4Moe says of GLM's own tokens; eos comes from the tokenizer's files."""

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WRITTEN_OUT = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_REST = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENGLISH = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

PRE_TOKENIZERS = {
    (_CONTRACTIONS + _REST.replace("DIGITS", "{1,3}"),): "glm4",
    (_WRITTEN_OUT + _REST.replace("DIGITS", "{1,3}"),): "glm4",
    (_CONTRACTIONS + _REST.replace("DIGITS", ""),): "qwen2",
    (_WRITTEN_OUT + _REST.replace("DIGITS", ""),): "qwen2",
    (_ENGLISH,): "gpt-2",
    ("digits", _ENGLISH): "smollm",
}
"""llama.cpp's name for a sequence of splits. (`llama-bpe` has GLM's regex as well.)"""


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocab_size: int) -> list[str]:
    """Write the tokenizer and chat template of the checkpoint in `folder`; gives remarks for the user.

    The vocabulary is padded to `vocab_size`, the rows of the embedding. Raises UserError when there is
    no byte-level BPE tokenizer.json.
    """
    content = _read_json(folder / "tokenizer.json")
    settings = _read_json(folder / "tokenizer_config.json", needed=False)
    model = content.get("model") or {}
    if model.get("type") != "BPE" or not _is_byte_level(content):
        raise UserError(
            f"{folder / 'tokenizer.json'} is not a byte-level BPE tokenizer, which GLM models have"
        )
    added = _added_tokens(content, settings)
    tokens, types = vocabulary(model["vocab"], added, vocab_size)
    pre = pre_tokenizer_name(content.get("pre_tokenizer"))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre or "default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=vocab_size)
    ids = {token["content"]: token_id for token_id, token in added.items()}
    for kind, text in SPECIAL_TOKENS.items():
        if text in ids:
            special.special_token_ids[kind] = ids[text]
    template = folder / "chat_template.jinja"
    if template.is_file() and not isinstance(special.chat_template, list):
        special.chat_template = template.read_text(encoding="utf-8")
    special.add_to_gguf(writer, quiet=True)
    remarks = []
    if pre is None:
        remarks.append("the tokenizer splits text in a way that GGUF has no name for: marked as 'default'")
    if special.chat_template is None:
        remarks.append("the checkpoint has no chat template: the file can complete text but not chat")
    return remarks


def _read_json(path: Path, needed: bool = True) -> dict[str, Any]:
    if not path.is_file():
        if needed:
            raise UserError(f"{path.parent} holds no {path.name}; download it with the checkpoint")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object; download it again")
    return content


def _added_tokens(content: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Tokens outside the BPE by id: of tokenizer_config.json (transformers 4), then of tokenizer.json."""
    added = {int(i): dict(token) for i, token in (settings.get("added_tokens_decoder") or {}).items()}
    return added | {int(token["id"]): dict(token) for token in content.get("added_tokens") or []}


def vocabulary(
    vocab: Mapping[str, int], added: Mapping[int, Mapping[str, Any]], vocab_size: int
) -> tuple[list[str], list[int]]:
    """The token list and token types of a file, `vocab_size` long.

    Ids that nothing has become `[PADi]`, unused. Added tokens are control tokens when they are marked
    special or look it (`<|...|>`), else user-defined.
    """
    texts = {token_id: text for text, token_id in vocab.items()}
    texts |= {token_id: str(token["content"]) for token_id, token in added.items()}
    if texts and max(texts) >= vocab_size:
        raise UserError(
            f"the tokenizer has a token {max(texts)} ({texts[max(texts)]!r}), past the vocab_size"
            f" {vocab_size} of config.json; the two are not of one model"
        )
    tokens, types = [], []
    for i in range(vocab_size):
        text, kind = texts.get(i), gguf.TokenType.NORMAL
        if text is None:
            text, kind = f"[PAD{i}]", gguf.TokenType.UNUSED
        elif i in added:
            special = added[i].get("special") or (text.startswith("<|") and text.endswith("|>"))
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
        tokens.append(text)
        types.append(int(kind))
    return tokens, types


def _is_byte_level(content: Mapping[str, Any]) -> bool:
    return any("ByteLevel" in json.dumps(content.get(part)) for part in ("pre_tokenizer", "decoder"))


def pre_tokenizer_name(pre_tokenizer: Mapping[str, Any] | None) -> str | None:
    """llama.cpp's name for the `pre_tokenizer` of a tokenizer.json, or None for one it has no name for."""
    splits: list[str] = []
    for step in (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer or {}]):
        if step.get("type") == "Split":
            splits.append((step.get("pattern") or {}).get("Regex", ""))
        elif step.get("type") == "Digits" and step.get("individual_digits"):
            splits.append("digits")
        elif step.get("type") == "ByteLevel" and step.get("use_regex", True):
            splits.append(_ENGLISH)
    return PRE_TOKENIZERS.get(tuple(splits))
