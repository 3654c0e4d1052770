"""Tool calls as GLM-4.5/4.6 and GLM-4.7 write them: arguments of all types, and text with tags in it."""

from __future__ import annotations

import pytest

from .calls_in_both_formats import NONE, call, check, f
from .model_outputs import LINE_BREAKS

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


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_calls(text, expected, line_break):
    check(text, expected, line_break)
