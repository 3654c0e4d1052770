"""Tokenizers, from the metadata of a GGUF file."""

from __future__ import annotations

from .streaming import StreamDecoder
from .tokenizer import Tokenizer, load_tokenizer

__all__ = ["StreamDecoder", "Tokenizer", "load_tokenizer"]
