"""What llguidance says about a grammar, in a line, with places in what the user wrote."""

from __future__ import annotations

import re

PLACE = re.compile(r"(?:at )?(\d+)\((\d+)\): ")
EXPRESSION = re.compile(r"invalid regex .*? \(in .*?\): |invalid regex ", re.DOTALL)
PARSE_ERROR = re.compile(r"regex parse error:\n    (.*?)\n    ( *)\^.*?\nerror: (.*)", re.DOTALL)
PICTURE = re.compile(r"\s*(\d+ \||\^)")
REWORDED = (
    (r"^failed to compile JSON schema: ", ""),
    (r"Unimplemented keys: \[(.*)\]", r"these keywords cannot be followed: \1"),
    (r"Resource '(.*?)' is not present.*", r"\1 is not in the schema itself, and nothing is fetched"),
    (r"Pointer '(.*?)' does not exist", r"there is no #\1 in the schema"),
    (r"^lexer error$", "this is not understood, or a string has no end"),
    (r"^no start rule found$", "there is no rule start, which says what a whole text is"),
    (r"lookarounds not supported yet; (\w+) in regex.*", r"\1 is not supported; use no \\b, ^ or $ inside"),
    (r"^initial lexer configuration.*|.*too many expressions constructed.*", "it is too large"),
    (r"^Too many items.*", "it is too ambiguous here, or its rules are too small"),
    (r"^Parser Error: token (.*?) doesn't satisfy the grammar.*", r"the token \1 does not fit"),
    (r"^NoExtensionBias$", "no token of the vocabulary fits"),
)
"""Words of llguidance that say little to others."""


def one_line(message: str) -> str:
    """The message without places, the state of the parser and pictures of both."""
    message = re.sub(r"\n?<non-verbose/>|\n<state>.*", "", message, flags=re.DOTALL)
    message = PLACE.sub("", message, count=1)
    if (parse_error := PARSE_ERROR.search(message)) is not None:
        begin = EXPRESSION.sub("", message[: parse_error.start()])
        message = f"{begin}{parse_error[3]}"
    message = EXPRESSION.sub("", message)
    message, _, _ = message.partition("; following ")
    lines = [line.strip() for line in message.splitlines() if not PICTURE.match(line)]
    text = " ".join(line for line in lines if line)
    for pattern, words in REWORDED:
        text = re.sub(pattern, words, text)
    return text


def with_place(message: str) -> str:
    """The message behind its place in a grammar, as in `, line 2, column 4: unknown name`."""
    place = PLACE.match(message)
    where = f", line {place[1]}, column {place[2]}" if place else ""
    parse_error = PARSE_ERROR.search(message)
    within = f"in the expression {parse_error[1]}: " if parse_error else ""
    return f"{where}: {within}{one_line(message)}"


def with_column(message: str, regex: str) -> str:
    """The message behind its place in a regular expression, as in `, column 4: unclosed group`.

    llguidance saw the expression with escapes for slashes and line breaks.
    """
    parse_error = PARSE_ERROR.search(message)
    if parse_error is None:
        return f": {one_line(message)}"
    column, seen = 1, 0
    for before, character in zip(" " + regex, regex, strict=False):
        seen += 1 + (character == "\n" or (character == "/" and before != "\\"))
        if seen > len(parse_error[2]):
            break
        column += 1
    return f", column {column}: {one_line(message)}"
