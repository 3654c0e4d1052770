"""Tool calls in the formats of GLM-4.5/4.6 and of GLM-4.7. Each case is a text of both: ⏎ stands where
the former have a line break and the latter has nothing."""

from __future__ import annotations

import pytest

from glmq.chat.output_parser import OutputParser

from .model_outputs import LINE_BREAKS, events_of, function, pieces_of, told

TOOLS = [
    function(
        "f",
        s={"type": "string"},
        t={"type": "string"},
        n={"type": "integer"},
        x={"type": "number"},
        b={"type": "boolean"},
        a={"type": "array"},
        o={"type": "object"},
        z={"type": "null"},
        maybe={"type": ["string", "null"]},
    ),
    {"name": "bare", "parameters": {"type": "object", "properties": {"s": {"type": "string"}}}},
    {"type": "function", "function": {"name": "no_schema"}},
    {"type": "function", "function": {"name": "mcp__a-b.c:d/E_9"}},
]
NONE = "there is f, bare, no_schema, mcp__a-b.c:d/E_9"


def call(*pairs, name="f"):
    arguments = (f"<arg_key>{key}</arg_key>⏎<arg_value>{value}</arg_value>⏎" for key, value in pairs)
    return f"<tool_call>{name}⏎{''.join(arguments)}</tool_call>"


def f(**arguments):
    return ("call", "f", arguments, None)


WELL_FORMED = {
    "no arguments": (call(), [f()]),
    "one string": (call(("s", "Köln")), [f(s="Köln")]),
    "two strings": (call(("s", "a"), ("t", "b")), [f(s="a", t="b")]),
    "arguments of all types": (
        call(
            ("s", "1"),
            ("n", "2"),
            ("x", "3.5"),
            ("b", "true"),
            ("a", "[4]"),
            ("o", '{"k": 5}'),
            ("z", "null"),
        ),
        [f(s="1", n=2, x=3.5, b=True, a=[4], o={"k": 5}, z=None)],
    ),
    "many arguments": (call(*((f"k{i}", i) for i in range(50))), [f(**{f"k{i}": i for i in range(50)})]),
    "an empty string": (call(("s", "")), [f(s="")]),
    "a string of digits": (call(("s", "007")), [f(s="007")]),
    "a string null": (call(("s", "null")), [f(s="null")]),
    "a string true": (call(("s", "true")), [f(s="true")]),
    "a string that is JSON": (call(("s", '{"a": [1]}')), [f(s='{"a": [1]}')]),
    "a string in quotes": (call(("s", '"a"')), [f(s='"a"')]),
    "quotes inside a string": (call(("s", "say \"hi\" and 'ho'")), [f(s="say \"hi\" and 'ho'")]),
    "backslashes": (call(("s", "C:\\new\\test")), [f(s="C:\\new\\test")]),
    "an escape that is none": (call(("s", "a\\nb")), [f(s="a\\nb")]),
    "line breaks inside a string": (call(("s", "a\nb\r\n\tc")), [f(s="a\nb\r\n\tc")]),
    "white space around a string": (call(("s", "\n    code\n  ")), [f(s="\n    code\n  ")]),
    "a string of white space": (call(("s", " \n ")), [f(s=" \n ")]),
    "control characters": (call(("s", "a\x00b\x1b[0m")), [f(s="a\x00b\x1b[0m")]),
    "scripts and emoji": (call(("s", "北京 🌸 naïve")), [f(s="北京 🌸 naïve")]),
    "line separators": (call(("s", "a\u2028b\u0085c")), [f(s="a\u2028b\u0085c")]),
    "comparisons": (call(("s", "a<b && c>d <")), [f(s="a<b && c>d <")]),
    "HTML": (call(("s", "<p class='x'>a<br/></p>")), [f(s="<p class='x'>a<br/></p>")]),
    "thinking tags in a value": (call(("s", "<think>a</think>")), [f(s="<think>a</think>")]),
    "<tool_call> in a value": (call(("s", "a <tool_call> b")), [f(s="a <tool_call> b")]),
    "</tool_call> in a value": (call(("s", "a </tool_call> b")), [f(s="a </tool_call> b")]),
    "a whole call without arguments in a value": (
        call(("s", "<tool_call>g</tool_call>")),
        [f(s="<tool_call>g</tool_call>")],
    ),
    "<arg_key> in a value": (call(("s", "<arg_key>k</arg_key>")), [f(s="<arg_key>k</arg_key>")]),
    "<arg_value> in a value": (call(("s", "<arg_value>v")), [f(s="<arg_value>v")]),
    "</arg_value> in a value": (call(("s", "a</arg_value>b")), [f(s="a</arg_value>b")]),
    "</arg_value> and space in a value": (call(("s", "a</arg_value> \nb")), [f(s="a</arg_value> \nb")]),
    "</arg_value> begins a value": (call(("s", "</arg_value>b")), [f(s="</arg_value>b")]),
    "</arg_value> ends a value": (call(("s", "a</arg_value>")), [f(s="a</arg_value>")]),
    "</arg_value> twice in a value": (
        call(("s", "a</arg_value></arg_value>\n</arg_value>b")),
        [f(s="a</arg_value></arg_value>\n</arg_value>b")],
    ),
    "</arg_value> and another tag": (
        call(("s", "a</arg_value><arg_value>")),
        [f(s="a</arg_value><arg_value>")],
    ),
    "</arg_value> and the beginning of a tag": (
        call(("s", "a</arg_value></tool")),
        [f(s="a</arg_value></tool")],
    ),
    "the beginning of </arg_value>": (call(("s", "a</arg_val")), [f(s="a</arg_val")]),
    "a < before </arg_value>": (call(("s", "a<"), ("t", "b</")), [f(s="a<", t="b</")]),
    "space around a number": (call(("n", "\n5 ")), [f(n=5)]),
    "a negative number": (call(("x", "-1e-3")), [f(x=-0.001)]),
    "an integer for a number": (call(("x", "3")), [f(x=3)]),
    "a whole float for an integer": (call(("n", "3.0")), [f(n=3)]),
    "a large integer": (call(("n", "9007199254740993")), [f(n=9007199254740993)]),
    "a word for a number": (call(("n", "many")), [f(n="many")]),
    "an empty number": (call(("n", "")), [f(n="")]),
    "Python's True": (call(("b", "True")), [f(b=True)]),
    "a word for a boolean": (call(("b", "yes")), [f(b="yes")]),
    "an object over lines": (call(("o", '{\n "a": "b\\n",\n "c": []\n}')), [f(o={"a": "b\n", "c": []})]),
    "tags in an array": (
        call(("a", '["</arg_value>", "<tool_call>"]')),
        [f(a=["</arg_value>", "<tool_call>"])],
    ),
    "a broken array": (call(("a", "[1, 2")), [f(a="[1, 2")]),
    "null where a string may be": (call(("maybe", "null")), [f(maybe=None)]),
    "a string where null may be": (call(("maybe", '"null"')), [f(maybe='"null"')]),
    "an unknown argument of JSON": (call(("more", "[1]")), [f(more=[1])]),
    "an unknown argument of text": (call(("more", "one, two")), [f(more="one, two")]),
    "an unknown tool": (call(("s", "1"), name="g"), [("call", "g", {"s": 1}, f"there is no tool g; {NONE}")]),
    "a tool without a schema": (
        call(("s", "x"), name="no_schema"),
        [("call", "no_schema", {"s": "x"}, None)],
    ),
    "a bare definition": (call(("s", "1"), name="bare"), [("call", "bare", {"s": "1"}, None)]),
    "a name of all characters": (call(name="mcp__a-b.c:d/E_9"), [("call", "mcp__a-b.c:d/E_9", {}, None)]),
    "space around the name": ("<tool_call> \n f \n</tool_call>", [f()]),
    "space around a key": (
        "<tool_call>f⏎<arg_key> s\n</arg_key>⏎<arg_value> a</arg_value>⏎</tool_call>",
        [f(s=" a")],
    ),
    "a key of several words": (call(("two words", 1)), [f(**{"two words": 1})]),
    "a key with quotes": (call(('"k\\"', 1)), [f(**{'"k\\"': 1})]),
    "blank lines and indents between the tags": (
        "<tool_call>f\n\n  <arg_key>s</arg_key>\n\n  <arg_value>a</arg_value>\n\n  </tool_call>",
        [f(s="a")],
    ),
    "two calls": (call(("s", "a")) + call(("s", "b")), [f(s="a"), f(s="b")]),
    "three calls on lines of their own": ("\n".join([call()] * 3), [f(), f(), f()]),
    "content and a call": ("I look.⏎" + call(("n", "1")), [("say", "I look."), f(n=1)]),
    "content between and after calls": (
        "A⏎" + call() + "\nB\n" + call() + "\nC",
        [("say", "A"), f(), ("say", "\nB"), f(), ("say", "\nC")],
    ),
    "thinking and a call": ("<think>so</think>⏎" + call(("b", "false")), [("think", "so"), f(b=False)]),
    "a call inside unclosed thinking": ("<think>so⏎" + call(("s", "a")), [("think", "so"), f(s="a")]),
}

ENDED = "the output ended "
BEFORE_CLOSE = ENDED + "before </tool_call>"
ANOTHER = "another call began "
HOLDS = "the value of 's' holds another argument, or </arg_value> is missing in it"


def bad(problem, name="f", **arguments):
    return ("call", name, arguments, problem)


MALFORMED = {
    "ends inside the name": ("<tool_call>no_sch", [bad(f"{ENDED}inside the tool's name", "no_sch")]),
    "ends after the name's line": ("<tool_call>f\n", [bad(BEFORE_CLOSE)]),
    "ends inside a key": ("<tool_call>f⏎<arg_key>ma", [bad(f"{ENDED}inside the argument's name 'ma'")]),
    "ends after a key": ("<tool_call>f⏎<arg_key>s</arg_key>⏎", [bad(f"{ENDED}before the value of 's'")]),
    "ends inside a string": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>Kö",
        [bad(f"{ENDED}inside the value of 's'", s="Kö")],
    ),
    "ends where a value begins": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>",
        [bad(f"{ENDED}inside the value of 's'", s="")],
    ),
    "ends inside a number": (
        "<tool_call>f⏎<arg_key>n</arg_key>⏎<arg_value>12",
        [bad(f"{ENDED}inside the value of 'n'", n=12)],
    ),
    "ends inside an object": (
        '<tool_call>f⏎<arg_key>o</arg_key>⏎<arg_value>{"a": 1',
        [bad(f"{ENDED}inside the value of 'o'", o='{"a": 1')],
    ),
    "ends inside a value's end": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_v",
        [bad(f"{ENDED}inside the value of 's'", s="a</arg_v")],
    ),
    "ends after a value": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎",
        [bad(BEFORE_CLOSE, s="a")],
    ),
    "ends inside the second call": (
        call(("s", "a")) + "⏎<tool_call>f⏎<arg_key>n</arg_key>",
        [f(s="a"), bad(f"{ENDED}before the value of 'n'")],
    ),
    "ends inside </tool_call>": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎</tool_c",
        [bad(f"{ENDED}inside the value of 's'", s="a</arg_value>⏎</tool_c")],
    ),
    "no name but arguments": (call(("s", "1"), name=""), [bad("the call has no name", "", s=1)]),
    "text after the name": (
        "<tool_call>f\nwith <b>\n</tool_call>",
        [bad("text between the tags: 'with <b>'")],
    ),
    "text between key and value": (
        "<tool_call>f⏎<arg_key>s</arg_key> = <arg_value>a</arg_value>⏎</tool_call>",
        [bad("text between the tags: '='", s="a")],
    ),
    "text in two places": (
        "<tool_call>f\none<arg_key>s</arg_key>⏎<arg_value>a</arg_value><arg_key>n</arg_key>two"
        "<arg_value>1</arg_value>⏎</tool_call>",
        [bad("text between the tags: 'one two'", s="a", n=1)],
    ),
    "a value without a key": (
        "<tool_call>f⏎<arg_value>a</arg_value>⏎</tool_call>",
        [bad("text between the tags: '<arg_value>a'")],
    ),
    "a stray </arg_value>": ("<tool_call>f</arg_value></tool_call>", [f()]),
    "a stray </arg_key>": ("<tool_call>f</arg_key>⏎</tool_call>", [f()]),
    "a stray </arg_value> at the end": ("<tool_call>f</arg_value>", [bad(BEFORE_CLOSE)]),
    "an empty key": (call(("", "1")), [bad("an argument has no name", **{"": 1})]),
    "a key without a value": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎</tool_call>",
        [bad("the argument 's' has no value")],
    ),
    "a key without a value, then another": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_key>n</arg_key>⏎<arg_value>1</arg_value>⏎</tool_call>",
        [bad("the argument 's' has no value", n=1)],
    ),
    "an unclosed key before a value": (
        "<tool_call>f⏎<arg_key>k⏎<arg_value>a</arg_value>⏎</tool_call>",
        [bad("</arg_key> is missing after 'k'", k="a")],
    ),
    "an unclosed key before the end": (
        "<tool_call>f⏎<arg_key>s⏎</tool_call>",
        [bad("</arg_key> is missing after 's'; the argument 's' has no value")],
    ),
    "an unclosed key before another": (
        "<tool_call>f⏎<arg_key>s⏎<arg_key>n</arg_key>⏎<arg_value>1</arg_value>⏎</tool_call>",
        [bad("</arg_key> is missing after 's'; the argument 's' has no value", n=1)],
    ),
    "a value twice": (
        call(("s", "a"), ("s", "b"), ("n", "1")),
        [bad("the argument 's' comes twice, the first value stands", s="a", n=1)],
    ),
    "a value twice, not a string": (
        call(("n", "1"), ("n", "2")),
        [bad("the argument 'n' comes twice, the first value stands", n=1)],
    ),
    "a call begins inside a name": (
        "<tool_call>f<tool_call>f</tool_call>",
        [bad(f"{ANOTHER}inside the tool's name"), f()],
    ),
    "a call begins after the name": (
        "<tool_call>f\n<tool_call>f\n</tool_call>",
        [bad(f"{ANOTHER}before </tool_call>"), f()],
    ),
    "a call begins inside a key": (
        "<tool_call>f⏎<arg_key>s<tool_call>f</tool_call>",
        [bad(f"{ANOTHER}inside the argument's name 's'"), f()],
    ),
    "a call begins after a key": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<tool_call>f</tool_call>",
        [bad(f"{ANOTHER}before the value of 's'"), f()],
    ),
    "a call begins after a value": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎<tool_call>f</tool_call>",
        [bad(f"{ANOTHER}before </tool_call>", s="a"), f()],
    ),
    "</tool_call> twice": (call() + "</tool_call>", [f(), ("say", "</tool_call>")]),
    "more problems than anyone reads": (
        "<tool_call>f" + "<arg_key>s" * 5,
        [
            bad(
                f"{ENDED}inside the argument's name 's'; </arg_key> is missing after 's';"
                " the argument 's' has no value"
            )
        ],
    ),
}


REPAIRED = {
    "the tag twice": (f"<tool_call>{call(('s', 'a'))}", [f(s="a")]),
    "the tag twice with a line break": (f"<tool_call>\n{call(('s', 'a'))}", [f(s="a")]),
    "a name in quotes": (call(("s", "a"), name='"f"'), [f(s="a")]),
    "a name with brackets": (call(("s", "a"), name="f()"), [f(s="a")]),
    "a name with a colon": (call(("s", "a"), name="f:"), [f(s="a")]),
    "<arg_key> missing behind the name": (
        "<tool_call>fs</arg_key>⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "<arg_key> missing behind the name and space": (
        "<tool_call>f s</arg_key>⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "<tool_call> for <arg_key>": (
        "<tool_call>f⏎<tool_call>s</arg_key>⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "<arg_key> missing later": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎t</arg_key>⏎<arg_value>b</arg_value>⏎"
        "</tool_call>",
        [f(s="a", t="b")],
    ),
    "<arg_key> twice": (
        "<tool_call>f⏎<arg_key><arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "</arg_key> missing": (
        "<tool_call>f⏎<arg_key>s⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "</arg_key> twice": (
        "<tool_call>f⏎<arg_key>s</arg_key></arg_key>⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "</arg_value> for </arg_key>": (
        "<tool_call>f⏎<arg_key>s</arg_value>⏎<arg_value>a</arg_value>⏎</tool_call>",
        [f(s="a")],
    ),
    "<arg_value> missing": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎some text</arg_value>⏎</tool_call>",
        [f(s="some text")],
    ),
    "<arg_value> missing of the first of two": (
        "<tool_call>f⏎<arg_key>n</arg_key>⏎7</arg_value>⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎"
        "</tool_call>",
        [f(n=7, s="a")],
    ),
    "</arg_value> missing before a parameter": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>hello⏎<arg_key>t</arg_key>⏎<arg_value>b</arg_value>⏎"
        "</tool_call>",
        [f(s="hello", t="b")],
    ),
    "</arg_value> missing twice": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>hello⏎<arg_key>t</arg_key>⏎<arg_value>b⏎<arg_key>n"
        "</arg_key>⏎<arg_value>3</arg_value>⏎</tool_call>",
        [f(s="hello", t="b", n=3)],
    ),
    "</arg_value> missing at the end": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>hello⏎</tool_call>",
        [f(s="hello")],
    ),
    "</arg_value> missing before another call": (
        f"<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>hello⏎</tool_call>{call(('s', 'x'))}",
        [f(s="hello"), f(s="x")],
    ),
    "</arg_value> missing before text": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>hello⏎</tool_call>\nSo I wait.",
        [f(s="hello"), ("say", "So I wait.")],
    ),
    "<arg_value> twice before a number": (
        "<tool_call>f⏎<arg_key>n</arg_key>⏎<arg_value><arg_value>7</arg_value>⏎</tool_call>",
        [f(n=7)],
    ),
    "</arg_value> twice behind a number": (
        "<tool_call>f⏎<arg_key>n</arg_key>⏎<arg_value>7</arg_value></arg_value>⏎</tool_call>",
        [f(n=7)],
    ),
    "</think> between the tags": (
        "<tool_call>f</think>⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>⏎</think></tool_call>",
        [f(s="a")],
    ),
    "a quoted parameter": (
        call(("s", "Use <arg_key>t</arg_key><arg_value>b</arg_value> here")),
        [f(s="Use <arg_key>t</arg_key><arg_value>b</arg_value> here")],
    ),
    "a quoted call": (
        call(("s", f"See {call(('s', 'x'))} and")),
        [f(s=f"See {call(('s', 'x'))} and")],
    ),
    "a quoted call of an unknown tool": (
        call(("s", f"{call(('s', 'x'), name='g')} and")),
        [f(s=f"{call(('s', 'x'), name='g')} and")],
    ),
    "a call as JSON": (
        '<tool_call>{"name": "f", "arguments": {"s": "a", "n": 1}}</tool_call>',
        [f(s="a", n=1)],
    ),
    "a call as JSON over lines": (
        '<tool_call>\n{\n "name": "f",\n "parameters": {"s": "a\nb"}\n}\n</tool_call>\nSo.',
        [f(s="a\nb"), ("say", "So.")],
    ),
    "a call as JSON in a fence": ('<tool_call>\n```json\n{"name": "f"}\n```\n</tool_call>', [f()]),
    "a call as JSON with text for arguments": (
        r'<tool_call>{"name": "f", "arguments": "{\"s\": \"a\"}"}</tool_call>',
        [f(s="a")],
    ),
    "a call as OpenAI writes it": (
        r'<tool_call>{"type": "function", "function": {"name": "f", "arguments": "{}"}}</tool_call>',
        [f()],
    ),
    "a call as JSON without arguments": ('<tool_call>{"name": "f", "arguments": null}</tool_call>', [f()]),
    "a tag in JSON": (
        '<tool_call>{"name": "f", "arguments": {"s": "</tool_call> <arg_key>"}}</tool_call>',
        [f(s="</tool_call> <arg_key>")],
    ),
    "JSON for arguments": ('<tool_call>f\n{"s": "a"}</tool_call>', [f(s="a")]),
    "JSON for arguments in the name's line": ('<tool_call>f{"s": "a"}</tool_call>', [f(s="a")]),
}

UNREPAIRED = {
    "an unknown parameter inside a value": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a<arg_key>k</arg_key>⏎<arg_value>b</arg_value>⏎"
        "</tool_call>",
        [bad(HOLDS, s="a<arg_key>k</arg_key>⏎<arg_value>b")],
    ),
    "a parameter that is given inside a value": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a<arg_key>s</arg_key>⏎<arg_value>b</arg_value>⏎"
        "</tool_call>",
        [bad(HOLDS, s="a<arg_key>s</arg_key>⏎<arg_value>b")],
    ),
    "an unknown parameter without <arg_key>": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a</arg_value>k</arg_key>⏎<arg_value>b</arg_value>⏎"
        "</tool_call>",
        [bad(HOLDS, s="a</arg_value>k</arg_key>⏎<arg_value>b")],
    ),
    "two tags missing": (
        "<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>a<arg_key>t</arg_key>b</arg_value>⏎</tool_call>",
        [bad(HOLDS, s="a<arg_key>t</arg_key>b")],
    ),
    "both tags of a value missing": (
        "<tool_call>f⏎<arg_key>s</arg_key>hello⏎</tool_call>",
        [bad("the argument 's' has no value; text between the tags: 'hello'")],
    ),
    "another call inside a value": (
        f"<tool_call>f⏎<arg_key>s</arg_key>⏎<arg_value>hello{call(('s', 'x'))}",
        [bad(f"{ANOTHER}inside the value of 's'", s="hello"), f(s="x")],
    ),
    "an unknown tool in JSON": (
        '<tool_call>{"name": "g", "arguments": {}}</tool_call>',
        [bad(f"there is no tool g; {NONE}", "g")],
    ),
    "arguments in JSON that are none": (
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        [bad("its arguments are no object")],
    ),
    "broken JSON, then a call": (
        f'<tool_call>{{"name": "f", "arguments": {{"s": "a</tool_call>{call()}',
        [bad("its JSON cannot be read: Unterminated string starting at: line 1 column 34 (char 33)"), f()],
    ),
    "JSON that is cut": (
        '<tool_call>{"name": "f"}',
        [bad("the output ended before </tool_call>")],
    ),
}


def in_format(value, line_break):
    if isinstance(value, str):
        return value.replace("⏎", line_break)
    if isinstance(value, dict):
        return {key: in_format(part, line_break) for key, part in value.items()}
    return (
        type(value)(in_format(part, line_break) for part in value)
        if isinstance(value, (list, tuple))
        else value
    )


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_calls(text, expected, line_break):
    check(text, expected, line_break)


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), REPAIRED.values(), ids=REPAIRED)
def test_what_is_missing_is_repaired_where_one_reading_is_possible(text, expected, line_break):
    check(text, expected, line_break)


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), UNREPAIRED.values(), ids=UNREPAIRED)
def test_what_may_be_read_in_two_ways_is_a_problem(text, expected, line_break):
    check(text, expected, line_break)


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_calls_are_told_with_what_is_wrong(text, expected, line_break):
    check(text, expected, line_break)


def check(text, expected, line_break):
    text, expected = in_format(text, line_break), in_format(expected, line_break)
    for size in (1, 3, len(text)):
        assert repr(told(events_of(pieces_of(text, size), TOOLS))) == repr(expected)


@pytest.mark.parametrize(
    "quoted",
    [
        "<tool_call>fs</arg_key><arg_value>x</arg_value></tool_call>",
        "<tool_call>f<tool_call>s</arg_key><arg_value>x</arg_value></tool_call>",
        "<tool_call>f<tool_call>bare</tool_call>",
        '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
        '<tool_call>f {"s": "x</tool_call> and <tool_call>bare</tool_call>',
    ],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_malformed_calls_that_thinking_quotes_are_said_as_they_came(quoted, size):
    events = events_of(pieces_of(f"So {quoted}, no.</think>Hi", size), TOOLS, in_reasoning=True)
    assert told(events) == [("think", f"So {quoted}, no."), ("say", "Hi")]


UNCLOSED = {
    "values": "<tool_call>f<arg_key>s</arg_key><arg_value>x ",
    "values with text behind the call": "<tool_call>f<arg_key>s</arg_key><arg_value>x</tool_call> and ",
}


@pytest.mark.parametrize("unclosed", UNCLOSED.values(), ids=UNCLOSED)
def test_many_unclosed_calls_are_all_read(unclosed):
    out = told(events_of([unclosed * 60], TOOLS))
    calls = [part for part in out if part[0] == "call"]
    assert [(name, arguments["s"].strip()) for _, name, arguments, _ in calls] == [("f", "x")] * 60


@pytest.mark.parametrize(
    "unclosed", ['<tool_call>{"', '<tool_call>{"x":1,', "<tool_call>{}", '<tool_call>{"s']
)
def test_many_unclosed_objects_are_text(unclosed):
    assert told(events_of([unclosed * 60], TOOLS)) == [("say", unclosed * 60)]


@pytest.mark.parametrize("text", ["```" + "a" * 3000, '"' * 3000, "f(" + " " * 3000, "ba" + " " * 3000])
def test_what_goes_on_too_long_begins_no_call(text):
    parser = OutputParser(TOOLS, in_reasoning=False)
    events = [event for piece in pieces_of(f"<tool_call>{text}.", 1) for event in parser.push(piece)]
    assert told(events) == [("say", f"<tool_call>{text}.")]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10**6])
def test_white_space_in_json_behind_a_name_stays(size):
    text = '<tool_call>bare {"s": "x  y "} </tool_call>'
    assert told(events_of(pieces_of(text, size), TOOLS)) == [("call", "bare", {"s": "x  y "}, None)]


def test_white_space_where_json_is_cut_stays():
    pieces = ['<tool_call>bare {"s": "x ', ' y"}</tool_call>']
    assert told(events_of(pieces, TOOLS)) == [("call", "bare", {"s": "x  y"}, None)]
