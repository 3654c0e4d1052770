"""GBNF, the grammars of llama.cpp: read, and written for llguidance."""

from .grammar import Token
from .lark_writer import lark_of
from .parser import read_gbnf

__all__ = ["Token", "lark_of", "read_gbnf"]
