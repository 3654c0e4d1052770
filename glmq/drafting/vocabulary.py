"""Whether two models have one vocabulary, so that tokens of one are tokens of the other."""

from __future__ import annotations

from glmq_kernels.errors import GlmqError

from ..gguf import GGUFFile

TOKENS = "tokenizer.ggml.tokens"

MOST_PADDING = 1024
"""Tokens by which vocabularies may differ at their ends, where they are filled up to round numbers."""


def require_same_vocabulary(file: GGUFFile, draft: GGUFFile) -> None:
    """Raise GlmqError where a draft model has other tokens than the model in `file`."""
    own, other = (list(each.metadata.get(TOKENS, ())) for each in (file, draft))
    differing = next((i for i, (a, b) in enumerate(zip(own, other, strict=False)) if a != b), None)
    if differing is not None:
        why = f"its token {differing} is {other[differing]!r}, not {own[differing]!r}"
    elif not other or abs(len(own) - len(other)) > MOST_PADDING:
        why = f"it has {len(other)} tokens, not {len(own)}"
    else:
        return
    raise GlmqError(
        f"{draft.path.name} cannot draft for {file.path.name}: {why}; choose a model with the same tokenizer",
        setting="draft",
    )
