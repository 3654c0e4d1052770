"""Random GBNF grammars, and what they mean by the plainest means: Earley's algorithm over characters."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

ALPHABET = 'ab0-"\\]\n é日'
"""Characters of random grammars: some end or escape things, two share no first byte with others."""


@dataclass(frozen=True)
class OneOf:
    """A character of a class, or with `negated` any other."""

    characters: str
    negated: bool = False

    def fits(self, character):
        return (character in self.characters) != self.negated

    def can_begin(self, data):
        """Whether a character of the class begins with these bytes of UTF-8, fewer than it has."""
        if not self.negated:
            return any(each.encode().startswith(data) for each in self.characters)
        n_missing = (2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4) - len(data)
        seconds = (0x80, 0x90, 0x9F, 0xA0, 0xBF)
        return any(_is_character(data + bytes([b]) + b"\x81" * (n_missing - 1)) for b in seconds)


def _is_character(data):
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False


# A part is OneOf, or ("literal", text), ("all", parts), ("any", parts), ("repeat", part, least, most) or
# ("rule", name).


def written(part):
    """A part in GBNF, within a group where it needs one."""
    if isinstance(part, OneOf):
        if part == OneOf("", negated=True):
            return "."
        return f"[{'^' * part.negated}{''.join(map(escaped, part.characters))}]"
    kind, value, *numbers = part
    if kind == "literal":
        return '"' + "".join(escaped(each) if each in '"\\\né' else each for each in value) + '"'
    if kind == "rule":
        return value
    if kind == "all":
        return "(" + " ".join(map(written, value)) + ")"
    if kind == "any":
        return "(" + " |\n ".join(map(written, value)) + ")"
    least, most = numbers
    short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
    if short is None:
        short = f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
    return f"{written(value)}{short}"


def escaped(character):
    if character == "\n":
        return "\\n"
    if character == "é":
        return "\\u00e9"
    return "\\" + character if character in '"\\]-' else character


def grammar_text(rules):
    return "\n".join(f"{name} ::= {written(part)}" for name, part in rules.items())


def grammars():
    """Random grammars; some rules never end, or are used by none."""
    names = st.sampled_from(["root", "one", "two"])
    leaf = st.one_of(
        st.builds(OneOf, st.text(ALPHABET, min_size=1, max_size=3), st.booleans()),
        st.just(OneOf("", negated=True)),
        st.text(ALPHABET, max_size=3).map(lambda text: ("literal", text)),
        names.map(lambda name: ("rule", name)),
    )
    parts = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda each: ("all", tuple(each))),
            st.lists(inner, min_size=1, max_size=3).map(lambda each: ("any", tuple(each))),
            st.builds(
                lambda part, numbers: ("repeat", part, *numbers),
                inner,
                st.sampled_from([(0, None), (1, None), (0, 1), (2, 2), (1, 3), (2, None), (0, 2)]),
            ),
        ),
        max_leaves=6,
    )

    def around(first, middle, last):
        """Brackets of a kind, which no regular expression counts."""
        return ("any", (middle, ("all", (first, ("rule", "root"), last))))

    return st.fixed_dictionaries(
        {"root": parts | st.builds(around, *3 * [parts]), "one": parts, "two": parts}
    )


class Reference:
    """Reads texts by a grammar. State: one set of Earley's items for each character read."""

    def __init__(self, rules):
        self._productions = {}
        for name, part in rules.items():
            self._productions[name] = [(self._symbol(part),)]
        ending = set()
        while new := {
            name
            for name, options in self._productions.items()
            if name not in ending
            and any(all(isinstance(s, OneOf) or s in ending for s in option) for option in options)
        }:
            ending |= new
        needed, waiting = {"root"}, ["root"]
        while waiting:
            for option in self._productions[waiting.pop()]:
                new = {symbol for symbol in option if not isinstance(symbol, OneOf)} - needed
                needed |= new
                waiting += new
        self.ends = needed <= ending
        self._ending = ending

    def _symbol(self, part):
        if isinstance(part, OneOf):
            return part
        kind, value, *numbers = part
        if kind == "rule":
            return value
        name = len(self._productions)
        self._productions[name] = options = []
        if kind == "literal":
            options.append(tuple(OneOf(each) for each in value))
        elif kind == "all":
            options.append(tuple(self._symbol(each) for each in value))
        elif kind == "any":
            options.extend((self._symbol(each),) for each in value)
        else:
            (least, most), symbol = numbers, self._symbol(value)
            if most is None:
                more = len(self._productions)
                self._productions[more] = [(), (symbol, more)]
                options.append((symbol,) * least + (more,))
            else:
                options.extend((symbol,) * count for count in range(least, most + 1))
        return name

    def begin(self):
        return [self._closed([("root", option, 0, 0) for option in self._productions["root"]], [])]

    def _closed(self, items, before):
        found = dict.fromkeys(items)
        position = len(before)
        ended = set()
        waiting = list(found)
        while waiting:
            name, option, dot, origin = waiting.pop()
            new = []
            if dot == len(option):
                if origin == position:
                    ended.add(name)
                rows = found if origin == position else before[origin]
                new = [(n, o, d + 1, a) for n, o, d, a in rows if d < len(o) and o[d] == name]
            elif not isinstance(option[dot], OneOf):
                new = [(option[dot], each, 0, position) for each in self._productions[option[dot]]]
                if option[dot] in ended:
                    new.append((name, option, dot + 1, origin))
            for item in new:
                if item not in found:
                    found[item] = None
                    waiting.append(item)
        return found

    def read(self, state, character):
        """The state behind a character; None where it cannot stand."""
        items = [
            (name, option, dot + 1, origin)
            for name, option, dot, origin in state[-1]
            if dot < len(option) and isinstance(option[dot], OneOf) and option[dot].fits(character)
        ]
        return [*state, self._closed(items, state)] if items else None

    def may_follow(self, state, data):
        """Whether a text may go on with these bytes, which may end within a character."""
        whole = data.decode(errors="ignore")
        if not data.startswith(whole.encode()):
            return False
        rest = data[len(whole.encode()) :]
        if rest and not 0xC2 <= rest[0] <= 0xF4:
            return False
        for character in whole:
            if (state := self.read(state, character)) is None:
                return False
        return not rest or any(
            dot < len(option) and isinstance(option[dot], OneOf) and option[dot].can_begin(rest)
            for _, option, dot, _ in state[-1]
        )

    def may_end(self, state):
        return any(n == "root" and dot == len(o) and origin == 0 for n, o, dot, origin in state[-1])
