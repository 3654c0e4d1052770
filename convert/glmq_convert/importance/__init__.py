"""Importance matrices: which columns of weight matrices matter, as a model's activations tell.

For each input column of a matrix they hold the sum of x² over the tokens that met it, by expert, and how
many tokens these were. Quantizing weights its errors with the means.

    importance    what is known, and what a quantizer takes of it
    coverage      how well each layer's experts were seen
    merging       several as one
    reading       files, told by their content
    writing       files, whole or not at all
    gguf_form     the GGUF form of llama.cpp: reading and writing
    dat_form      the older .dat form: reading
"""

from __future__ import annotations

from .coverage import LayerCoverage, coverage
from .importance import Importance, MakingOf, TensorSums
from .merging import merge_importance
from .reading import read_importance
from .writing import importance_target, write_importance

__all__ = [
    "Importance",
    "LayerCoverage",
    "MakingOf",
    "TensorSums",
    "coverage",
    "importance_target",
    "merge_importance",
    "read_importance",
    "write_importance",
]
