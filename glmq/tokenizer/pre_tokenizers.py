"""How text is cut before byte-pair encoding, under the names that `tokenizer.ggml.pre` has for it.

Each way is a sequence of regular expressions: each cuts the pieces that the one before left, at its
matches. Source: llama.cpp, src/llama-vocab.cpp (those that are plain regular expressions there).
"""

from __future__ import annotations

from dataclasses import dataclass

_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_PUNCTUATION = r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
_PUNCTUATION_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"


def _words(digits: str) -> str:
    return rf"{_CONTRACTIONS}|{_WORD}|{digits}|{_PUNCTUATION}"


def _cased_words(ending: str) -> str:
    """Words cut where an upper-case run follows a lower-case one; `ending` may follow each."""
    upper, lower = r"((?=[\p{L}])([^a-z]))", r"((?=[\p{L}])([^A-Z]))"
    start = r"[^\r\n\p{L}\p{N}]?"
    return rf"{start}{upper}*{lower}+{ending}|{start}{upper}+{lower}*{ending}"


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_ASCII_PUNCTUATION_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_CJK = "[一-龥぀-ゟ゠-ヿ]+"

_LLAMA3 = (_words(r"\p{N}{1,3}"),)
_QWEN2 = (_words(r"\p{N}"),)
_SMOLLM = (r"\p{N}", _GPT2)
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    _CJK,
    rf"{_ASCII_PUNCTUATION_WORD}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}",
)
_TEKKEN = (rf"{_cased_words('')}|\p{{N}}|{_PUNCTUATION_SLASH}",)
_GPT4O = (rf"{_cased_words(_CONTRACTIONS + '?')}|\p{{N}}{{1,3}}|{_PUNCTUATION_SLASH}",)
_BLOOM = (r" ?[^(\s|.,!?…。，、।۔،)]+",)


@dataclass(frozen=True)
class PreTokenizer:
    """The expressions, and what else goes with the name.

    ignore_merges: a piece that is itself a token is taken whole. add_bos: unless the file says otherwise.
    """

    expressions: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False


_NAMED: dict[str, PreTokenizer] = {
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "glm4": PreTokenizer(_LLAMA3, ignore_merges=True),
    "chatglm-bpe dbrx smaug-bpe": PreTokenizer(_LLAMA3),
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano": PreTokenizer(
        _LLAMA3, ignore_merges=True, add_bos=True
    ),
    "qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan solar-open megrez grok-2": PreTokenizer(_QWEN2),
    "qwen35": PreTokenizer(
        (
            rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
            rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}",
        )
    ),
    "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2": PreTokenizer(_SMOLLM),
    "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert exaone4 mpt olmo"
    " jais trillion granite-docling": PreTokenizer((_GPT2,)),
    "falcon": PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
    "deepseek-v3 hunyuan-dense joyai-llm hy_v4": PreTokenizer(_DEEPSEEK3),
    "tekken": PreTokenizer(_TEKKEN, ignore_merges=True, add_bos=True),
    "gpt-4o llama4 kanana2 talkie minimax-m2": PreTokenizer(_GPT4O),
    "poro-chat bloom gpt3-finnish": PreTokenizer(_BLOOM),
    "viking": PreTokenizer((*_BLOOM, r"\p{N}")),
    "bailingmoe bailingmoe2 llada-moe": PreTokenizer(
        (
            rf"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|{_WORD}|\p{{N}}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        )
    ),
    "seed-coder": PreTokenizer(
        (rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACES}",)
    ),
    "ufakzeka": PreTokenizer((rf"{_WORD}|\p{{N}}|{_PUNCTUATION}",)),
    "laguna": PreTokenizer((r"[^\n]+|[\n]+", *_QWEN2)),
    "exaone-moe": PreTokenizer(
        (
            rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        )
    ),
}

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    name: pre_tokenizer for names, pre_tokenizer in _NAMED.items() for name in names.split()
}
"""By the value of `tokenizer.ggml.pre`."""
