"""Making importance matrices: a model reads texts, and the squares of what its matrices meet are added up.

    texts             files of text and of conversations, as chunks of tokens
    observed_model    a model whose tape adds up the inputs of its matrices
    making            the whole run, saved as it goes and gone on with after an interruption

What comes of it is `glmq_convert.importance`, which quantizing takes.
"""

from __future__ import annotations

from .making import ImportanceOptions, make_importance

__all__ = ["ImportanceOptions", "make_importance"]
