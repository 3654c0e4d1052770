"""Reads GBNF as llama.cpp does: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md."""

from __future__ import annotations

from typing import NoReturn

from glmq_kernels.errors import GlmqError

from .characters import LAST, SURROGATES, CharacterSet
from .checks import checked
from .grammar import NOTHING, Characters, Choice, Grammar, Part, Reference, Repeat, Sequence, Token

ESCAPES = {"t": "\t", "r": "\r", "n": "\n"} | {each: each for each in '\\"[]-'}
HEXADECIMAL = {"x": 2, "u": 4, "U": 8}
"""Escapes that name a code point, and their number of digits."""

MAX_LENGTH = 400_000
MAX_DEPTH = 200
MAX_REPETITIONS = 1_000_000
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
DIGITS = frozenset("0123456789")


def read_gbnf(text: str) -> Grammar:
    """The rules that `root` needs. Raises GlmqError, which names line and column."""
    if len(text) > MAX_LENGTH:
        raise GlmqError(f"the GBNF grammar is refused: it has {len(text)} characters, more than {MAX_LENGTH}")
    return _Reader(text).grammar()


class _Reader:
    """Goes through a text from its beginning to its end. _at: the place."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._references: dict[str, int] = {}

    def grammar(self) -> Grammar:
        rules: dict[str, Part] = {}
        places: dict[str, int] = {}
        self._space(line_breaks=True)
        while self._at < len(self._text):
            place, name = self._at, self._name()
            if name in rules:
                self._refuse(
                    f"the rule {name} is there twice; its first is in {self._place(places[name])}", place
                )
            self._space()
            if not self._text.startswith("::=", self._at):
                self._refuse("::= should follow the name of a rule")
            self._at += 3
            self._space(line_breaks=True)
            rules[name], places[name] = self._choice(), place
            if self._next() not in ("\r", "\n", ""):
                self._refuse_rest()
            self._space(line_breaks=True)
        for name, place in self._references.items():
            if name not in rules:
                self._refuse(f"there is no rule {name}", place)
        if "root" not in rules:
            self._refuse("there is no rule root, which says what a whole text is", 0)
        return checked(rules, lambda name: self._place(places[name]))

    def _choice(self) -> Part:
        """Alternatives, up to a `)`, a line break outside of groups, or what is none of the syntax."""
        parts = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            self._space(line_breaks=True)
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while True:
            place, character = self._at, self._next()
            if character in ("*", "+", "?", "{"):
                if not parts:
                    self._refuse(f"{character} repeats what is before it, and there is nothing")
                parts.append(self._repeated(parts.pop()))
            elif character == '"':
                parts.append(self._literal())
            elif character == "[":
                parts.append(self._class())
            elif character == ".":
                self._at += 1
                parts.append(Characters(CharacterSet.of([(0, LAST)])))
            elif character == "(":
                parts.append(self._group())
            elif character in ("<", "!"):
                parts.append(self._token())
            elif character in NAME:
                name = self._name()
                self._references.setdefault(name, place)
                parts.append(Reference(name))
            else:
                break
            self._space(line_breaks=self._depth > 0)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _group(self) -> Part:
        place = self._at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"groups are nested more than {MAX_DEPTH} deep")
        self._at += 1
        self._space(line_breaks=True)
        part = self._choice()
        if self._next() == "":
            self._refuse("this ( has no )", place)
        if self._next() != ")":
            self._refuse_rest()
        self._at += 1
        self._depth -= 1
        return part

    def _repeated(self, part: Part) -> Part:
        place, character = self._at, self._next()
        self._at += 1
        if character != "{":
            return Repeat(part, int(character == "+"), 1 if character == "?" else None)
        self._space(line_breaks=self._depth > 0)
        least = self._number()
        most: int | None = least
        if self._next() == ",":
            self._at += 1
            self._space(line_breaks=self._depth > 0)
            most = self._number() if self._next() in DIGITS else None
        if self._next() != "}":
            self._refuse("numbers of repetitions look like {2}, {2,} or {2,5}", place)
        self._at += 1
        if most is not None and most < least:
            self._refuse(f"{{{least},{most}}} asks for more at least than at most", place)
        if max(least, most or 0) > MAX_REPETITIONS:
            self._refuse(
                f"more than {MAX_REPETITIONS} repetitions; write {{{min(least, MAX_REPETITIONS)},}}", place
            )
        return NOTHING if most == 0 else Repeat(part, least, most)

    def _number(self) -> int:
        begin = self._at
        while self._next() in DIGITS:
            self._at += 1
        if begin == self._at:
            self._refuse("a number of repetitions should be here")
        if self._at - begin > 9:
            self._refuse(f"more than {MAX_REPETITIONS} repetitions", begin)
        number = int(self._text[begin : self._at])
        self._space(line_breaks=self._depth > 0)
        return number

    def _literal(self) -> Part:
        place = self._at
        self._at += 1
        parts: list[Part] = []
        while self._next() != '"':
            begin, point = self._at, self._character("this string has no end", place)
            if SURROGATES[0] <= point <= SURROGATES[1]:
                self._refuse(
                    f"U+{point:04X} is half of a character; write the whole one as \\U0001F600", begin
                )
            parts.append(Characters(CharacterSet.of([(point, point)])))
        self._at += 1
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _class(self) -> Part:
        place = self._at
        self._at += 1
        is_negated = self._next() == "^"
        self._at += is_negated
        ranges: list[tuple[int, int]] = []
        while self._next() != "]":
            begin = self._at
            first = last = self._character("this [ has no ]", place)
            if self._next() == "-" and not self._text.startswith("-]", self._at):
                self._at += 1
                last = self._character("this [ has no ]", place)
            if last < first:
                self._refuse(f"{self._text[begin : self._at]} goes backwards", begin)
            ranges.append((first, last))
        self._at += 1
        if not ranges:
            self._refuse("a class without characters; any character is .", place)
        found = CharacterSet.of(ranges)
        if not (found := found.negated() if is_negated else found).ranges:
            self._refuse("no character fits this class", place)
        return Characters(found)

    def _character(self, unfinished: str, place: int) -> int:
        """The code point of a character or an escape in a string or a class, which begins at `place`."""
        begin, character = self._at, self._next()
        if not character:
            self._refuse(unfinished, place)
        self._at += 1
        if character != "\\":
            return ord(character)
        kind = self._next()
        self._at += 1
        if kind in HEXADECIMAL:
            digits = self._text[self._at : self._at + HEXADECIMAL[kind]]
            self._at += HEXADECIMAL[kind]
            if len(digits) < HEXADECIMAL[kind] or not all(
                each in "0123456789abcdefABCDEF" for each in digits
            ):
                self._refuse(f"\\{kind} needs {HEXADECIMAL[kind]} hexadecimal digits", begin)
            if (point := int(digits, 16)) > LAST:
                self._refuse(f"there is no character U+{point:X}", begin)
            return point
        if kind not in ESCAPES:
            known = " ".join(f"\\{each}" for each in [*HEXADECIMAL, *ESCAPES])
            self._refuse(f"\\{kind} is no escape; these are: {known}", begin)
        return ord(ESCAPES[kind])

    def _token(self) -> Part:
        place = self._at
        is_negated = self._next() == "!"
        self._at += is_negated
        end = self._text.find(">", self._at)
        line_end = self._text.find("\n", self._at)
        if self._next() != "<" or end < 0 or 0 <= line_end < end:
            self._refuse(
                "a token looks like <think> or <[1000]>, with a ! before it for any other token", place
            )
        name = self._text[self._at : end + 1]
        self._at = end + 1
        if name.startswith("<["):
            if not name[2:-2].isdecimal() or not name.endswith("]>") or len(name) > 12:
                self._refuse(f"{name} is no token; one looks like <think> or <[1000]>", place)
            return Token(int(name[2:-2]), is_negated, self._place(place))
        return Token(name, is_negated, self._place(place))

    def _name(self) -> str:
        begin = self._at
        while self._next() in NAME:
            self._at += 1
        if begin == self._at:
            self._refuse_rest("the name of a rule should be here")
        return self._text[begin : self._at]

    def _next(self) -> str:
        """The character at this place; "" at the end, which is in no set of characters."""
        return self._text[self._at : self._at + 1]

    def _space(self, line_breaks: bool = False) -> None:
        """Go past white space and comments."""
        skipped = " \t\r\n" if line_breaks else " \t"
        while (character := self._next()) and (character in skipped or character == "#"):
            if character == "#":
                while self._next() not in ("\r", "\n", ""):
                    self._at += 1
            else:
                self._at += 1

    def _refuse_rest(self, expected: str = "") -> NoReturn:
        found = self._next()
        if found == "|":
            self._refuse("a line cannot begin with |, except in parentheses; let the line before end with it")
        if found == ")":
            self._refuse("this ) has no (")
        what = f"{found!r} is not understood" if found else "the text ends too early"
        self._refuse(f"{expected}, not {found!r}" if expected and found else expected or what)

    def _refuse(self, message: str, place: int | None = None) -> NoReturn:
        raise GlmqError(
            f"the GBNF grammar is refused, {self._place(self._at if place is None else place)}: {message}"
        )

    def _place(self, place: int) -> str:
        before = self._text[:place]
        return f"line {before.count(chr(10)) + 1}, column {place - before.rfind(chr(10))}"
