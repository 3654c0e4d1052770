"""Thinking and content in a model's output, and how early they are told."""

from __future__ import annotations

import sys

import pytest

from glmq.chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from glmq.chat.output_parser import OutputParser

from .model_outputs import events_of, function, pieces_of, told

TOOLS = [function("f", a={"type": "integer"})]
F = "<tool_call>f</tool_call>"
CALLED = ("call", "f", {}, None)
UNFINISHED = "the output ended before </tool_call>"

OPEN = {
    "nothing": ("", []),
    "white space alone": (" \n ", []),
    "plain text": ("Hello", [("say", "Hello")]),
    "text of other models": ("a <b> & </i> <|x|>\n\n  y\n", [("say", "a <b> & </i> <|x|>\n\n  y\n")]),
    "spaces at the beginning": ("  - one\n  - two", [("say", "  - one\n  - two")]),
    "line breaks at the beginning": ("\n\nHello", [("say", "Hello")]),
    "blank lines, then an indent": ("\n  \n    code", [("say", "    code")]),
    "GLM-4.6 thinks": ("\n<think>so</think>\nHello", [("think", "so"), ("say", "Hello")]),
    "GLM-4.5 thinks": ("\n<think>\nso\n</think>\n\nHello", [("think", "so"), ("say", "Hello")]),
    "thinking without a line break": ("<think>so</think>Hello", [("think", "so"), ("say", "Hello")]),
    "thinking of nothing": ("\n<think></think>\nHello", [("say", "Hello")]),
    "thinking of white space": ("<think> \n </think>Hello", [("say", "Hello")]),
    "thinking only": ("<think>so</think>", [("think", "so")]),
    "unclosed thinking": ("<think>so it\n", [("think", "so it")]),
    "thinking cut inside its end": ("<think>so</thi", [("think", "so</thi")]),
    "white space inside thinking": ("<think>a\n\n b </think>", [("think", "a\n\n b")]),
    "an indent at thinking's beginning": ("<think>\n  - a</think>", [("think", "  - a")]),
    "tags inside thinking": (
        "<think>a <arg_key> <b> <think> c</think>",
        [("think", "a <arg_key> <b> <think> c")],
    ),
    "<think> twice": ("<think>\n<think>so</think>Hi", [("think", "so"), ("say", "Hi")]),
    "thinking after thinking": ("<think>a</think>\n<think>b</think>c", [("think", "a\n\nb"), ("say", "c")]),
    "<think> in content": ("Use <think>x</think>.", [("say", "Use <think>x</think>.")]),
    "a leaked </think>": ("</think>Hello", [("say", "Hello")]),
    "a leaked </think> after line breaks": ("\n\n</think>\n\nHello", [("say", "Hello")]),
    "a leaked </think> after thinking": ("<think>a</think></think>b", [("think", "a"), ("say", "b")]),
    "</think> in content": ("It ends with </think>.", [("say", "It ends with </think>.")]),
    "the beginning of a tag": ("a <thi", [("say", "a <thi")]),
    "beginnings of tags": ("<<think <</tool_call <", [("say", "<<think <</tool_call <")]),
    "tags of calls outside calls": ("a </tool_call><arg_key>", [("say", "a </tool_call><arg_key>")]),
    "white space at the end of content": ("Hello \n", [("say", "Hello \n")]),
    "white space between content and a call": (f"Hello\n \n{F}", [("say", "Hello"), CALLED]),
    "white space before a call": (f" \n{F}", [CALLED]),
    "white space after a call": (f"{F}\n ", [CALLED]),
    "white space between calls": (f"{F}\n{F}", [CALLED, CALLED]),
    "first content after a call": (f"{F}\nHello", [CALLED, ("say", "Hello")]),
    "more content after a call": (f"A.\n{F}\nB.", [("say", "A."), CALLED, ("say", "\nB.")]),
    "spaces around a call": (f"A {F} B", [("say", "A"), CALLED, ("say", " B")]),
    "thinking, content, call": (
        f"\n<think>so</think>\nI look.\n{F}",
        [("think", "so"), ("say", "I look."), CALLED],
    ),
    "thinking, call": (f"\n<think>so\n</think>\n{F}", [("think", "so"), CALLED]),
    "thinking between calls": (
        f"<think>a</think>{F}<think>b</think>{F}\n<think>c</think>d",
        [("think", "a"), CALLED, ("think", "\n\nb"), CALLED, ("think", "\n\nc"), ("say", "d")],
    ),
    "thinking after content and a call": (
        f"A{F}\n<think>b</think>\nC",
        [("say", "A"), CALLED, ("think", "b"), ("say", "C")],
    ),
    "<think> in content after a call": (f"{F}a <think>", [CALLED, ("say", "a <think>")]),
    "</think> after a call": (f"{F}\n</think>\nB", [CALLED, ("say", "B")]),
    "a call inside unclosed thinking": (f"<think>so\n{F}", [("think", "so"), CALLED]),
    "a call that closed thinking quotes at its end": (
        f"<think>so {F}\n</think>Hello",
        [("think", f"so {F}"), ("say", "Hello")],
    ),
    "a call that closed thinking quotes": (
        f"<think>so {F} or</think>\nHello",
        [("think", f"so {F} or"), ("say", "Hello")],
    ),
    "a quoted call, then one": (
        f"<think>so {F} or</think>\nI look.{F}",
        [("think", f"so {F} or"), ("say", "I look."), CALLED],
    ),
    "the tag in content": (
        "It is `<tool_call>`. It opens a call.",
        [("say", "It is `<tool_call>`. It opens a call.")],
    ),
    "the tag at the end": ("It is <tool_call>", [("say", "It is <tool_call>")]),
    "the tag and a line break": ("<tool_call>\nopens it", [("say", "<tool_call>\nopens it")]),
    "the tag and a name in a sentence": ("<tool_call>f is a call", [("say", "<tool_call>f is a call")]),
    "the tag, a name and a comma": ("a <tool_call>f, b", [("say", "a <tool_call>f, b")]),
    "the tag and a longer name": ("<tool_call>ff is it", [("say", "<tool_call>ff is it")]),
    "the tag and a key that is none": (
        "<tool_call>f<arg_key>k for keys. And more.",
        [("say", "<tool_call>f<arg_key>k for keys. And more.")],
    ),
    "a format with placeholders": (
        "<tool_call>{name}<arg_key>{key}</arg_key></tool_call>",
        [("say", "<tool_call>{name}<arg_key>{key}</arg_key></tool_call>")],
    ),
    "an unknown tool in a sentence": (
        "Such as <tool_call>g<arg_key>a</arg_key><arg_value>1</arg_value></tool_call> here.",
        [("say", "Such as <tool_call>g<arg_key>a</arg_key><arg_value>1</arg_value></tool_call> here.")],
    ),
    "an unknown tool in an unfinished call": (
        "Use <tool_call>g<arg_key>k for keys. And more.",
        [("say", "Use <tool_call>g<arg_key>k for keys. And more.")],
    ),
    "an unknown tool without arguments in a line": (
        "So: <tool_call>g</tool_call>",
        [("say", "So: <tool_call>g</tool_call>")],
    ),
    "an unknown tool at the end": (
        "So:\n<tool_call>g</tool_call>\n",
        [("say", "So:"), ("call", "g", {}, "there is no tool g; there is f")],
    ),
    "an unknown tool, then another": (
        f"<tool_call>g</tool_call>\n{F} Well.",
        [("call", "g", {}, "there is no tool g; there is f"), CALLED, ("say", " Well.")],
    ),
}

IN_REASONING = {
    "nothing": ("", []),
    "white space alone": ("\n", []),
    "thinking, content": ("so</think>Hello", [("think", "so"), ("say", "Hello")]),
    "thinking, line breaks, content": ("so\n</think>\n\nHello", [("think", "so"), ("say", "Hello")]),
    "no thinking": ("</think>Hello", [("say", "Hello")]),
    "a <think> although the prompt has one": ("\n<think>so</think>a", [("think", "so"), ("say", "a")]),
    "unclosed": ("so it is ", [("think", "so it is")]),
    "a call after thinking": (f"so</think>{F}", [("think", "so"), CALLED]),
    "a call inside unclosed thinking": (f"so\n{F}", [("think", "so"), CALLED]),
    "a call with line breaks inside thinking": (
        "so<tool_call>\nf\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
        [("think", "so"), ("call", "f", {"a": 1}, None)],
    ),
    "a call first of all": (F, [CALLED]),
    "two calls inside unclosed thinking": (f"so{F}{F}", [("think", "so"), CALLED, CALLED]),
    "an unfinished call inside thinking": (
        "so<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value>",
        [("think", "so"), ("call", "f", {"a": 1}, UNFINISHED)],
    ),
    "a call cut inside its name": (
        "so<tool_call>f",
        [("think", "so"), ("call", "f", {}, "the output ended inside the tool's name")],
    ),
    "thinking about the tag": (
        "I write <tool_call> and a name</think>a",
        [("think", "I write <tool_call> and a name"), ("say", "a")],
    ),
    "thinking about the format": (
        "<tool_call>{name}\n<arg_key>{key}</arg_key>",
        [("think", "<tool_call>{name}\n<arg_key>{key}</arg_key>")],
    ),
    "thinking about the tags": (
        "<tool_call>\n<arg_key>, then </tool_call></think>a",
        [("think", "<tool_call>\n<arg_key>, then </tool_call>"), ("say", "a")],
    ),
    "thinking about calls, then a call": (
        f"<tool_call> or <tool_call>x {F}",
        [("think", "<tool_call> or <tool_call>x"), CALLED],
    ),
    "thinking about the tag at its end": (
        "x <tool_call></think>a",
        [("think", "x <tool_call>"), ("say", "a")],
    ),
    "a tag and a very long word": (
        f"<tool_call>{'a' * 250}</tool_call>",
        [("think", f"<tool_call>{'a' * 250}</tool_call>")],
    ),
    "a quoted call with arguments": (
        "Such as <tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>, or not.</think>Hello",
        [
            (
                "think",
                "Such as <tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>, or not.",
            ),
            ("say", "Hello"),
        ],
    ),
    "a quoted call that is cut": (
        "Such as <tool_call>f<arg_key>a</arg_key><arg_value>1</think>Hello",
        [("think", "Such as <tool_call>f<arg_key>a</arg_key><arg_value>1"), ("say", "Hello")],
    ),
    "a quoted tag and name": (
        "Such as <tool_call>f</think>Hello",
        [("think", "Such as <tool_call>f"), ("say", "Hello")],
    ),
    "a quoted call in JSON": (
        'Such as <tool_call>{"name": "f"}</tool_call></think>Hello',
        [("think", 'Such as <tool_call>{"name": "f"}</tool_call>'), ("say", "Hello")],
    ),
    "two quoted calls": (f"{F}\n{F}</think>Hello", [("think", f"{F}\n{F}"), ("say", "Hello")]),
    "a quoted call, then one, in unclosed thinking": (
        f"Not {F}, but\n{F}",
        [("think", f"Not {F}, but"), CALLED],
    ),
    "tags of thinking in the value of a call": (
        "so<tool_call>f<arg_key>s</arg_key><arg_value><think>x</think></arg_value></tool_call>",
        [("think", "so"), ("call", "f", {"s": "<think>x</think>"}, None)],
    ),
    "a quoted call in thinking that is cut": (f"Not {F}, bu", [("think", f"Not {F}, bu")]),
    "thinking again after a call": (
        f"a</think>{F}<think>b</think>C",
        [("think", "a"), CALLED, ("think", "\n\nb"), ("say", "C")],
    ),
}


@pytest.mark.parametrize(("text", "expected"), OPEN.values(), ids=OPEN)
def test_outputs_that_begin_outside_thinking(text, expected):
    for size in (1, 2, 5, len(text) + 1):
        assert told(events_of(pieces_of(text, size), TOOLS)) == expected


@pytest.mark.parametrize(("text", "expected"), IN_REASONING.values(), ids=IN_REASONING)
def test_outputs_that_begin_inside_thinking(text, expected):
    for size in (1, 2, 5, len(text) + 1):
        assert told(events_of(pieces_of(text, size), TOOLS, in_reasoning=True)) == expected


WITHOUT_TOOLS = {
    "the tag": "The tag is <tool_call>. It opens a call,\nmany lines\nfollow.",
    "a whole call": "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>",
    "JSON": '{"const": "<tool_call>"}',
    "tags one by one": "a <arg_key> <arg_value> </arg_value> </arg_key> </tool_call>",
}


@pytest.mark.parametrize("text", WITHOUT_TOOLS.values(), ids=WITHOUT_TOOLS)
def test_without_tools_tags_of_calls_are_text_in_thinking_and_content(text):
    for size in (1, 3, len(text)):
        assert told(events_of(pieces_of(text, size))) == [("say", text)]
        pieces = pieces_of(f"{text}</think>{text}", size)
        assert told(events_of(pieces, in_reasoning=True)) == [("think", text), ("say", text)]
        assert told(events_of(pieces_of(text, size), in_reasoning=True)) == [("think", text)]


@pytest.mark.parametrize("text", ("a<think>b</think>", f"a {F}", "a</think>", "a <tool_call>f"))
def test_constrained_content_is_content_whatever_it_looks_like(text):
    for before, thinking in (("", []), ("<think>so</think>", [("think", "so")])):
        pieces = pieces_of(before + text, 1)
        assert told(events_of(pieces, TOOLS, is_constrained=True)) == [*thinking, ("say", text)]
    pieces = pieces_of(f"so</think>{text}", 1)
    expected = [("think", "so"), ("say", text)]
    assert told(events_of(pieces, TOOLS, in_reasoning=True, is_constrained=True)) == expected


@pytest.mark.parametrize("text", ("\n\nworld", " world", "world", "<think>x", "\n", "</think>"))
def test_continued_content_loses_nothing_at_its_beginning(text):
    assert told(events_of([text], TOOLS, continues=True)) == [("say", text)]


def test_continued_thinking_loses_nothing_at_its_beginning():
    events = events_of(["\n\nand so</think>\nHello"], TOOLS, in_reasoning=True, continues=True)
    assert told(events) == [("think", "\n\nand so"), ("say", "Hello")]


def test_calls_in_thinking_that_the_model_ended_without_closing_it_count():
    text = f"Such as {F}. I wait"
    assert told(events_of([text], TOOLS, True)) == [("think", text)]
    assert told(events_of([text], TOOLS, True, ended_by_model=True)) == [("think", text), CALLED]
    closed = f"{text}</think>So"
    assert told(events_of([closed], TOOLS, True, ended_by_model=True)) == [("think", text), ("say", "So")]


@pytest.mark.parametrize("text", (F.removesuffix("</tool_call>"), "<tool_call>f\n"))
def test_a_call_that_lacks_only_its_end_is_whole_if_the_model_ended_it(text):
    [call] = told(events_of([text], TOOLS))
    assert call[:3] == CALLED[:3] and "the output ended" in call[3]
    assert told(events_of([text], TOOLS, ended_by_model=True)) == [CALLED]


def test_whether_the_output_ended_inside_thinking():
    for text, expected in (("so", True), ("so</think>", False), (f"so {F}", False), (f"{F} so", True)):
        parser = OutputParser(TOOLS, in_reasoning=True)
        parser.push(text)
        parser.finish()
        assert parser.is_thinking == expected


def test_text_is_told_at_once_except_what_may_be_a_tag_or_space_before_a_call():
    parser = OutputParser(TOOLS, in_reasoning=False)
    assert parser.push("Hel") == [ContentText("Hel")]
    assert parser.push("lo <") == [ContentText("lo")]
    assert parser.push("tool") == []
    assert parser.push("s> are") == [ContentText(" <tools> are")]
    assert parser.push("\n") == []
    assert parser.push("x") == [ContentText("\nx")]
    assert parser.finish() == []


def test_thinking_is_told_at_once():
    parser = OutputParser(in_reasoning=True)
    assert parser.push("Let ") == [ReasoningText("Let")]
    assert parser.push("me") == [ReasoningText(" me")]
    assert parser.push("\n</think>Hi") == [ContentText("Hi")]


def test_a_call_is_told_as_early_as_possible():
    tools = [function("f", path={"type": "string"}, n={"type": "integer"})]
    parser = OutputParser(tools, in_reasoning=False)
    assert parser.push("<tool_call>f") == []
    assert parser.push("\n<arg_key>path") == []
    assert parser.push("</arg_key>\n") == [ToolCallBegin(0, "f")]
    assert parser.push("<arg_value>") == [ToolCallText(0, '{"path": "')]
    assert parser.push('a"') == [ToolCallText(0, 'a\\"')]
    assert parser.push("b\n") == [ToolCallText(0, "b")]
    assert parser.push("</arg_value>\n") == []
    assert parser.push("<arg_key>") == [ToolCallText(0, "\\n"), ToolCallText(0, '"')]
    assert parser.push("n</arg_key>\n<arg_value>") == [ToolCallText(0, ', "n": ')]
    assert parser.push("1") == []
    assert parser.push("2</arg_value>\n") == []
    assert parser.push("</tool_call>") == [
        ToolCallText(0, "12"),
        ToolCallText(0, "}"),
        ToolCallEnd(0, "f", {"path": 'a"b\n', "n": 12}, None),
    ]
    assert parser.finish() == []


LONG = {
    "content": ("", "a <", ""),
    "white space": ("a", " \n", ""),
    "thinking": ("<think>", "so ", "</think>"),
    "tags in thinking": ("<think>", "<tool_call>", "</think>"),
    "a name": ("<tool_call>", "f", ""),
    "space before a name": ("<tool_call>", " ", ""),
    "a key": ("<tool_call>f<arg_key>", "k ", ""),
    "a string": ("<tool_call>f<arg_key>s</arg_key><arg_value>", 'a"', ""),
    "a value of any type": ("<tool_call>f<arg_key>x</arg_key><arg_value>", "1,", ""),
    "ends of values in a value": ("<tool_call>f<arg_key>s</arg_key><arg_value>", "</arg_value>", ""),
    "space after a value": ("<tool_call>f<arg_key>s</arg_key><arg_value></arg_value>", "\n", ""),
    "text between the tags": ("<tool_call>f\n", "x ", ""),
    "keys without values": ("<tool_call>f", "<arg_key>", ""),
    "calls in calls": ("", "<tool_call>", ""),
}


@pytest.mark.parametrize(("before", "again", "after"), LONG.values(), ids=LONG)
def test_work_grows_with_the_text_and_not_with_its_square(before, again, after):
    """As many lines run for each character of a long text, and none of them over a longer string."""
    tools = [function("f", s={"type": "string"})]
    n_lines = []
    for n in (2000, 6000):
        parser = OutputParser(tools, in_reasoning=False)
        text = before + again * (n // len(again)) + after
        n_lines.append(_lines_run(parser, text) / len(text))
        assert max(map(len, _strings_in(parser))) <= 200
    assert n_lines[1] < 1.2 * n_lines[0]


def _lines_run(parser, text):
    n = 0

    def trace(frame, event, argument):
        nonlocal n
        n += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for character in text:
            parser.push(character)
    finally:
        sys.settrace(before)
    return n


def _strings_in(holder):
    for value in vars(holder).values():
        if isinstance(value, str):
            yield value
        elif type(value).__module__.startswith("glmq") and hasattr(value, "__dict__"):
            yield from _strings_in(value)


def test_without_tools_a_tag_that_comes_as_a_piece_of_its_own_is_text():
    parser = OutputParser([], in_reasoning=False)
    events = [event for piece in ("<tool_call>", "f", "</tool_call>") for event in parser.push(piece)]
    events += parser.finish(ended_by_model=True)
    assert "".join(event.text for event in events if isinstance(event, ContentText)) == F
