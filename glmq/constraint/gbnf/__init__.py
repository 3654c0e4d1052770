"""GBNF, the grammars of llama.cpp: read, and written for llguidance."""

from .grammar import Token
from .reader import read_gbnf
from .writer import lark_of

__all__ = ["Token", "lark_of", "read_gbnf"]
