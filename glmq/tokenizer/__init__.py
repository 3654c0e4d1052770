"""Tokenizers, from the metadata of a GGUF file."""

from __future__ import annotations

from .streaming import StreamDecoder
from .tokenizer import ANSWER_TAGS, Tokenizer, load_tokenizer

__all__ = ["ANSWER_TAGS", "StreamDecoder", "Tokenizer", "load_tokenizer"]
