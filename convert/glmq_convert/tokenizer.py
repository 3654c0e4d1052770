"""tokenizer.json and its companions to `tokenizer.ggml.*` metadata, as llama.cpp's conversion writes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
from glmq_kernels.errors import GlmqError

from .chat_templates import chat_templates
from .json_fields import checked_text, errors_in, flag, read_object, shown, table, tables, text, whole
from .sentence_pieces import add_pieces, is_of_pieces, read_model, vocabulary_of_json
from .special_tokens import GLM_MARK, add_special_tokens
from .tokenizer_json import check_within, merged_pairs, steps, vocabulary_by_number

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WRITTEN_OUT = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_REST = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENGLISH = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

PRE_TOKENIZERS = {
    (_CONTRACTIONS + _REST.replace("DIGITS", "{1,3}"),): "chatglm-bpe",
    (_WRITTEN_OUT + _REST.replace("DIGITS", "{1,3}"),): "chatglm-bpe",
    (_CONTRACTIONS + _REST.replace("DIGITS", ""),): "qwen2",
    (_WRITTEN_OUT + _REST.replace("DIGITS", ""),): "qwen2",
    (_ENGLISH,): "gpt-2",
    ("digits", _ENGLISH): "smollm",
}
"""llama.cpp's name for a sequence of splits."""

WHOLE_PIECES = {True: {"chatglm-bpe": "glm4"}, False: {"chatglm-bpe": "llama-bpe"}}
"""The name where, besides, a piece that is in the vocabulary is taken whole (`ignore_merges`): of GLM's
tokenizers, and of others."""

SLIGHT_NORMALIZERS = ("NFC",)
"""They change nothing in text that is written as nearly all text is."""

SPACE = "\u0120"


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocab_size: int) -> list[str]:
    """Write the tokenizer and chat template of the checkpoint in `folder`; gives remarks for the user.

    The vocabulary is padded to `vocab_size`, the rows of the embedding. Raises GlmqError when there is
    neither a tokenizer.json with byte pairs nor a tokenizer.model.
    """
    path, model_path = folder / "tokenizer.json", folder / "tokenizer.model"
    content = read_object(path) if path.is_file() or not model_path.is_file() else {}
    settings_path = folder / "tokenizer_config.json"
    settings = read_object(settings_path) if settings_path.is_file() else {}
    with errors_in(settings_path):
        added = _added_of_settings(settings)
    with errors_in(path):
        added |= _added_tokens(content)
        byte_level = _is_byte_level(content)
        remarks = _remarks_on_added(added)
        pieces = None
        if not byte_level and not model_path.is_file() and is_of_pieces(content):
            pieces = vocabulary_of_json(content)
    if not byte_level and model_path.is_file():
        pieces = read_model(model_path)
    with errors_in(path if content else model_path):
        if pieces:
            ids = add_pieces(writer, pieces, added, vocab_size)
            remarks += pieces.remarks
        else:
            ids = {token["content"]: token_id for token_id, token in added.items()}
            remarks += _add_byte_level(writer, content, added, vocab_size)
    add_special_tokens(writer, folder, settings, content, ids, vocab_size)
    templates = chat_templates(folder, settings)
    if templates:
        writer.add_chat_template([{"name": name, "template": found} for name, found in templates.items()])
    if "default" not in templates:
        remarks.append("the checkpoint has no chat template: the file can complete text but not chat")
    return remarks


def _add_byte_level(
    writer: gguf.GGUFWriter,
    content: Mapping[str, Any],
    added: Mapping[int, Mapping[str, Any]],
    vocab_size: int,
) -> list[str]:
    """Write byte-level byte pairs; gives remarks."""
    model = _model(content)
    tokens, types = vocabulary(vocabulary_by_number(model), added, vocab_size)
    is_glm = any(token["content"] == GLM_MARK for token in added.values())
    pre, remarks = _pre_tokenizer(content, model, is_glm)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(_merges(model, table(model, "vocab")))
    return remarks


def _model(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The BPE model, with nothing that GGUF has no place for."""
    model = table(content, "model")
    if text(model, "type") != "BPE" or not _is_byte_level(content):
        raise GlmqError("neither a byte-level BPE tokenizer nor one made of a SentencePiece BPE model")
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "fuse_unk", "byte_fallback"):
        if model.get(key) not in (None, "", 0, False):
            raise GlmqError(f"model.{key} is {shown(model[key])}, which GGUF files of GLM models do not have")
    return model


def _added_of_settings(settings: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Tokens outside the BPE by id, as transformers 4 keeps them in tokenizer_config.json."""
    added = {}
    for key in table(settings, "added_tokens_decoder"):
        if not (key.isascii() and key.isdecimal()):
            raise GlmqError(f"added_tokens_decoder has the key {shown(key)}; it must be a token's number")
        token = table(settings["added_tokens_decoder"], key)
        added[_token_id({"id": int(key[:12]), **token}, "id")] = token
    return added


def _added_tokens(content: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Tokens outside the BPE by id, as tokenizer.json has them."""
    added: dict[int, Mapping[str, Any]] = {}
    for token in tables(content, "added_tokens"):
        token_id = _token_id(token, "id")
        if token_id in added and added[token_id]["content"] != token["content"]:
            texts = shown(added[token_id]["content"]), shown(token["content"])
            raise GlmqError(f"two added tokens have the number {token_id}, {texts[0]} and {texts[1]}")
        added[token_id] = token
    return added


def _remarks_on_added(added: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """What the tokens say about the text around them, for which GGUF has no place."""
    return [
        f"the added token {shown(token['content'])} has {key}, which GGUF has no place for: left out"
        for key in ("lstrip", "rstrip", "single_word")
        for token in [next((each for each in added.values() if flag(each, key, False)), None)]
        if token is not None
    ]


def _token_id(token: Mapping[str, Any], key: str) -> int:
    checked_text(token.get("content"), "the content of an added token")
    return whole(token, key, -1, least=0)


def _merges(model: Mapping[str, Any], vocab: Mapping[str, Any]) -> list[str]:
    """Two tokens and a space between them each; a space of a token's own as byte-level text has it."""
    merges = []
    for first, second in merged_pairs(model):
        for token in (first, second, first + second):
            if token not in vocab:
                raise GlmqError(f"model.merges speaks of {shown(token)}, which is no token of model.vocab")
        merges.append(f"{first.replace(' ', SPACE)} {second.replace(' ', SPACE)}")
    return merges


def vocabulary(
    texts: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], vocab_size: int
) -> tuple[list[str], list[int]]:
    """The token list and token types of a file, `vocab_size` long.

    Ids that nothing has become `[PADi]`, unused. Added tokens are control tokens when they are marked
    special or look it (`<|...|>`), else user-defined.
    """
    texts = {**texts, **{token_id: token["content"] for token_id, token in added.items()}}
    check_within(texts, vocab_size)
    tokens, types = [], []
    for i in range(vocab_size):
        text, kind = texts.get(i), gguf.TokenType.NORMAL
        if text is None:
            text, kind = f"[PAD{i}]", gguf.TokenType.UNUSED
        elif i in added:
            special = flag(added[i], "special", False) or (text.startswith("<|") and text.endswith("|>"))
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
        tokens.append(text)
        types.append(int(kind))
    return tokens, types


def _pre_tokenizer(
    content: Mapping[str, Any], model: Mapping[str, Any], is_glm: bool
) -> tuple[str, list[str]]:
    """llama.cpp's name for how text is cut, and remarks on what it does not say."""
    remarks = []
    normalizers = steps(table(content, "normalizer"), "normalizers")
    for kind in (text(step, "type") for step in normalizers if step):
        if kind not in SLIGHT_NORMALIZERS:
            raise GlmqError(f"the normalizer {shown(kind)} cannot be converted: GGUF has no place for it")
        remarks.append(f"the tokenizer normalizes text ({kind}), which GGUF has no place for: left out")
    for step in steps(table(content, "pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "ByteLevel" and flag(step, "add_prefix_space", False):
            remarks.append("the tokenizer puts a space before each text (add_prefix_space): left out")
    name = pre_tokenizer_name(table(content, "pre_tokenizer"))
    takes_whole = flag(model, "ignore_merges", False)
    if name is None:
        remarks.append("the tokenizer splits text in a way that GGUF has no name for: marked as 'default'")
    elif takes_whole and name not in WHOLE_PIECES[is_glm]:
        remarks.append(
            "the tokenizer takes known pieces whole (ignore_merges), which GGUF cannot say: left out"
        )
    elif takes_whole:
        name = WHOLE_PIECES[is_glm][name]
    return name or "default", remarks


def _is_byte_level(content: Mapping[str, Any]) -> bool:
    return any(
        step.get("type") == "ByteLevel"
        for part, name in (("pre_tokenizer", "pretokenizers"), ("decoder", "decoders"))
        for step in steps(table(content, part), name)
    )


def pre_tokenizer_name(pre_tokenizer: Mapping[str, Any]) -> str | None:
    """llama.cpp's name for the `pre_tokenizer` of a tokenizer.json, or None for one it has no name for."""
    splits: list[str] = []
    for step in steps(pre_tokenizer, "pretokenizers"):
        if step.get("type") == "Split":
            splits.append(text(table(step, "pattern"), "Regex", "") or "")
        elif step.get("type") == "Digits" and flag(step, "individual_digits", False):
            splits.append("digits")
        elif step.get("type") == "ByteLevel" and flag(step, "use_regex", True):
            splits.append(_ENGLISH)
    return PRE_TOKENIZERS.get(tuple(splits))
