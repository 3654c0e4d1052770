"""Tool calls that end early, hold what they must not or are no calls: what is told of them."""

from __future__ import annotations

import pytest

from glmq.chat.output_parser import OutputParser

from .calls_in_both_formats import ANOTHER, TOOLS, bad, call, check, f
from .model_outputs import LINE_BREAKS, events_of, pieces_of, told

ENDED = "the output ended "
BEFORE_CLOSE = ENDED + "before </tool_call>"

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


@pytest.mark.parametrize("line_break", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize(("text", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_calls_are_told_with_what_is_wrong(text, expected, line_break):
    check(text, expected, line_break)


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
