"""Tool calls with tags that are missing, doubled or mistaken, and calls as JSON: read where one reading is
possible, told as a problem where there are two."""

from __future__ import annotations

import pytest

from .calls_in_both_formats import ANOTHER, NONE, TOOLS, bad, call, check, f
from .model_outputs import LINE_BREAKS, events_of, pieces_of, told

HOLDS = "the value of 's' holds another argument, or </arg_value> is missing in it"

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


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), REPAIRED.values(), ids=REPAIRED)
def test_what_is_missing_is_repaired_where_one_reading_is_possible(text, expected, line_break):
    check(text, expected, line_break)


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), UNREPAIRED.values(), ids=UNREPAIRED)
def test_what_may_be_read_in_two_ways_is_a_problem(text, expected, line_break):
    check(text, expected, line_break)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10**6])
def test_white_space_in_json_behind_a_name_stays(size):
    text = '<tool_call>bare {"s": "x  y "} </tool_call>'
    assert told(events_of(pieces_of(text, size), TOOLS)) == [("call", "bare", {"s": "x  y "}, None)]


def test_white_space_where_json_is_cut_stays():
    pieces = ['<tool_call>bare {"s": "x ', ' y"}</tool_call>']
    assert told(events_of(pieces, TOOLS)) == [("call", "bare", {"s": "x  y"}, None)]
