"""Time of llguidance's masks, and of preparing a vocabulary for it.

python bench/constraint.py FILE.gguf

FILE holds a vocabulary, with or without a model. Times are of a guide's whole work for one token: what is
forced, the mask on the logits, and going on behind the token.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Sequence

import numpy as np

from glmq.constraint import (
    Constraint,
    grammar_constraint,
    json_schema_constraint,
    regex_constraint,
    tool_call_constraint,
)
from glmq.constraint.token_table import llguidance_tokenizer, token_bytes
from glmq.gguf import open_gguf
from glmq.guide import Guide
from glmq.tokenizer import Tokenizer, load_tokenizer

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "born": {"type": "string", "format": "date"},
        "scores": {"type": "array", "items": {"type": "number"}},
        "kind": {"enum": ["student", "teacher", "guest"]},
        "address": {"$ref": "#/$defs/address"},
    },
    "required": ["name", "born", "kind"],
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string", "maxLength": 60}, "zip": {"pattern": "^[0-9]{5}$"}},
        }
    },
}
VALUE = {
    "name": "Grace Brewster Hopper, née Murray",
    "born": "1906-12-09",
    "scores": [1, 2.5, -3e7],
    "kind": "teacher",
    "address": {"street": "12 Main Street, at the corner", "zip": "12345"},
}
TOOL = {"name": "register", "parameters": PERSON}
CALL = """I will write that down.
<tool_call>register
<arg_key>name</arg_key>
<arg_value>Grace Hopper</arg_value>
<arg_key>born</arg_key>
<arg_value>1906-12-09</arg_value>
<arg_key>kind</arg_key>
<arg_value>teacher</arg_value>
<arg_key>scores</arg_key>
<arg_value>[1, 2.5]</arg_value>
</tool_call>"""
JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9]{1,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""
ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
LIST = r'root ::= ("- " [^\r\n]+ "\n")+'
WORDS = 'root ::= text\ntext ::= word " " text | "(" text ")" | word "end"\nword ::= [a-z]+'
"""Words run into what follows them: each of their characters is a lexeme."""


def cases(tokenizer: Tokenizer) -> dict[str, tuple[Constraint, str]]:
    """Constraints, each with a text that fits it."""
    mail = "grace.hopper@navy.example.org"
    return {
        "JSON schema of a person": (json_schema_constraint(PERSON), json.dumps(VALUE, ensure_ascii=False)),
        "any JSON": (json_schema_constraint({}), json.dumps([VALUE, VALUE], ensure_ascii=False, indent=1)),
        "regex, mail address": (regex_constraint(r"[a-z0-9.+-]+@[a-z0-9-]+(\.[a-z]{2,9})+"), mail),
        "regex, 200 words": (
            regex_constraint(r"(\w+[ ,.]{1,2}){1,200}"),
            "It was a dark and stormy night, " * 5,
        ),
        "regex, one of two texts": (regex_constraint("(yes|no), " + re.escape(mail)), "yes, " + mail),
        "GBNF, JSON": (grammar_constraint(JSON), json.dumps(VALUE, ensure_ascii=False)),
        "GBNF, arithmetic": (grammar_constraint(ARITHMETIC), "x1 +( b*2)=7\ntotal_sum -3=( 4*a)\n"),
        "GBNF, a list": (grammar_constraint(LIST), "- Bread and butter\n- Äpfel, 日本\n"),
        "GBNF, words by characters": (grammar_constraint(WORDS), "it was a dark and stormy night the end"),
        "tool call": (tool_call_constraint([TOOL], tokenizer), CALL),
    }


def mask_times(guide: Guide, tokens: Sequence[int], n_vocab: int) -> list[float]:
    """Seconds of `forced`, `mask` and `accept` of each token."""
    found = []
    for token in tokens:
        logits = np.zeros(n_vocab, np.float32)
        began = time.perf_counter()
        guide.forced()
        guide.mask(logits)
        guide.accept(token)
        found.append(time.perf_counter() - began)
        if logits[token] == -np.inf:
            raise SystemExit(f"token {token} should have been allowed")
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    tokenizer = load_tokenizer(open_gguf(parser.parse_args().file))
    began = time.perf_counter()
    token_bytes(tokenizer)
    middle = time.perf_counter()
    llguidance_tokenizer(tokenizer)
    seconds = time.perf_counter() - middle
    print(f"{tokenizer.n_vocab} tokens: bytes {middle - began:.2f} s, llguidance's tokenizer {seconds:.2f} s")
    print(f"{'':28}{'tokens':>8}{'median':>12}{'worst':>12}")
    for name, (constraint, text) in cases(tokenizer).items():
        tokens = tokenizer.encode(text, after_text=True)
        times = mask_times(constraint.guide(tokenizer), tokens, tokenizer.n_vocab)
        print(f"{name:28}{len(tokens):8}{statistics.median(times) * 1e3:9.2f} ms{max(times) * 1e3:9.2f} ms")


if __name__ == "__main__":
    main()
