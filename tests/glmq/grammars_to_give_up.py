"""Follows grammars that a careless program would hang, crash or grow without end on: one line for each.

python -m tests.glmq.grammars_to_give_up NAMES...
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from glmq_kernels.errors import GlmqError

from glmq.constraint import (
    grammar_compilation,
    grammar_constraint,
    json_schema_constraint,
    regex_constraint,
    tool_call_constraint,
)

from .guided_output import guided_output, small_tokenizer

DEEP = 10_000
LARK = {
    "a greedy lexeme that never ends": 'start: DASHES "--|"\nDASHES: "-"+',
    "text without an end": 'start: "a" start',
    "no text": "start: start",
    "parentheses": f"start: {'(' * DEEP}'a'{')' * DEEP}",
    "a chain of rules": "\n".join(["start: r0", *(f"r{i}: r{i + 1}" for i in range(DEEP)), f'r{DEEP}: "x"']),
    "a chain of terminals": "\n".join(
        ["start: R0", *(f"R{i}: R{i + 1}" for i in range(DEEP)), f'R{DEEP}: "x"']
    ),
    "repetitions of repetitions": 'start: (((("x" "y"){1000}){1000}){1000}){1000}',
    "optional repetitions": 'start: A\nA: (((("x"|"y"){0,1000}){0,1000}){0,1000}){0,1000}',
    "50 conditions": "start: A\nA: " + " & ".join(f"/(.*)a.{{{i}}}(.*)/" for i in range(50)),
    "many rules": "\n".join(["start: r0", *(f"r{i}: " + "(" * 20 + "'x'" + ")" * 20 for i in range(DEEP))]),
    "ambiguous": 'start: s\ns: s s | "a" | ""',
}
GBNF = {
    "dashes": 'root ::= dashes "--|"\ndashes ::= "-"+',
    "no end": 'root ::= "a" root',
    "itself": "root ::= root",
    "parentheses": f'root ::= {"(" * DEEP}"a"{")" * DEEP}',
    "empty": "root ::=",
    "a chain of rules": "\n".join(
        ["root ::= r0", *(f"r{i} ::= r{i + 1}" for i in range(DEEP)), f'r{DEEP} ::= "x"']
    ),
    "doubling": "\n".join(
        ["root ::= r0", *(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(64)), 'r64 ::= "x"']
    ),
    "doubling choices": "\n".join(
        ["root ::= r0", *(f'r{i} ::= r{i + 1} "a" | r{i + 1} "b"' for i in range(64)), 'r64 ::= "x"']
    ),
    "repetitions": "root ::= ((([a-z]{0,1000} [0-9]){0,1000}) [.]){0,1000}",
    "ambiguous": "root ::= root root root | [ab] | [a-c]?",
    "stars of stars": "root ::= (((([a]*)*)*)* ([a]*)*)*",
    "alternatives": "root ::= " + " | ".join(f'"word {i}" root?' for i in range(2000)),
    "options": "root ::= " + " ".join(["[a-z]?"] * 500) + ' "." root?',
    "options alone": "root ::= " + " ".join(['"a"?'] * 2000),
    "choices in choices": "root ::= " + '("x" | ' * 100 + '"a" root' + ")*" * 100,
    "left and right": 'root ::= root "a" root | "b" | root root',
}
REGEX = {
    "nested": "((a|b|c){1000}){1000}",
    "groups": "(" * DEEP + "a" + ")" * DEEP,
    "far back": r"(.*a.{200}){5}",
    "optional": "(a?){5000}a{5000}",
    "letters": r"\w{5000}",
}
SCHEMAS = {
    "40 patterns": {"allOf": [{"type": "string", "pattern": f"a.{{{i}}}b"} for i in range(40)]},
    "a multiple": {"type": "integer", "multipleOf": 99_999_989},
    "itself": {"$ref": "#"},
    "itself always": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    "long arrays": {"type": "array", "items": {"type": "array", "minItems": 10**5}, "minItems": 10**5},
    "deep": '{"items":' * DEEP + "{}" + "}" * DEEP,
}
TOOLS = {
    "a tool": [{"name": "f", "parameters": {"properties": {k: s for k, s in SCHEMAS.items() if k != "deep"}}}]
}

MAKERS = {
    "lark": (LARK, grammar_constraint),
    "gbnf": (GBNF, grammar_constraint),
    "regex": (REGEX, regex_constraint),
    "schema": (SCHEMAS, json_schema_constraint),
}


def main() -> None:
    """Prints `name: followed`, or `name: refused, MESSAGE`."""
    kind, seconds = sys.argv[1], float(sys.argv[2])
    grammar_compilation.SECONDS = seconds
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = small_tokenizer(Path(folder))
    if kind == "tools":
        cases, make = TOOLS, lambda tools: tool_call_constraint(tools, tokenizer)
    else:
        cases, make = MAKERS[kind]
    for name, text in cases.items():
        print(f"{name}: ", end="", flush=True)
        try:
            guided_output(make(text).guide(tokenizer), tokenizer, max_tokens=40)
            print("followed", flush=True)
        except GlmqError as error:
            print("refused,", error, flush=True)


if __name__ == "__main__":
    main()
