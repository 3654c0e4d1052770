"""However an output is cut, its events are the same; and what the templates render is read as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glmq.chat.template import ChatTemplate
from glmq.tokenizer import ANSWER_TAGS

from .model_outputs import LINE_BREAKS, call_text, events_of, function, joined, told

SHARED = Path(__file__).parents[3] / "shared" / "templates"
SCRAPS = (
    *ANSWER_TAGS,
    "<",
    "</",
    "<tool_",
    "arg_value>",
    "f",
    "s",
    "n",
    " ",
    "\n",
    '"',
    "\\",
    "{",
    "1",
    "a b",
    "Ä",
)

SCHEMAS = {
    "s": {"type": "string"},
    "t": {"type": "string"},
    "n": {"type": "integer"},
    "x": {"type": "number"},
    "b": {"type": "boolean"},
    "a": {"type": "array"},
    "o": {"type": "object"},
    "z": {"type": "null"},
    "digits or null": {"anyOf": [{"$ref": "#/$defs/digits"}, {"type": "null"}]},
}
TOOLS = [function("f", **SCHEMAS)]
TOOLS[0]["function"]["parameters"]["$defs"] = {"digits": {"enum": ["0", "1", "007"]}}
FORMS = (
    "<tool_call>f",
    "<tool_call>f<arg_key>s</arg_key><arg_value>",
    "<tool_call>g<arg_key>k</arg_key>",
    "<arg_key>t</arg_key>\n<arg_value>",
    "</arg_value>n</arg_key><arg_value>",
    "</arg_value>\n</tool_call>",
    '{"name": "f", ',
    '"arguments": {"s": "',
    '"}}',
    "```json\n",
)
"""Parts of calls, some of them malformed."""
SOUP = st.lists(st.sampled_from(SCRAPS), max_size=25).map("".join)
SOUP_OF_FORMS = st.lists(st.sampled_from(SCRAPS + FORMS), max_size=15).map("".join)
MISREAD = re.compile(
    r"</arg_value>(\s|</?think>)*(<arg_key>|</?tool_call>)"  # ends the value
    r"|</tool_call>(.|\n)*<tool_call>"  # another call may begin behind the first
    r"|<tool_call>\s*\w+\s*(<arg_key>|</tool_call>)"
    r"|<arg_key>[^<]*(</arg_key>|<arg_value>)"  # another argument may begin
    r"|</arg_key>(\s|</?think>)*<arg_value>"
)
"""What in a value is no text, or cannot be told from what is none."""
STRINGS = (st.text() | SOUP).filter(lambda text: not MISREAD.search(text))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | STRINGS
JSON = st.recursive(SCALARS, lambda part: st.lists(part) | st.dictionaries(STRINGS, part), max_leaves=5)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "s": STRINGS,
        "t": STRINGS,
        "n": st.integers(),
        "x": FLOATS | st.integers(),
        "b": st.booleans(),
        "a": st.lists(JSON),
        "o": st.dictionaries(STRINGS, JSON),
        "z": st.none(),
        "digits or null": st.sampled_from(["0", "1", "007", None]),
    },
)
WORDS = st.lists(st.sampled_from(["so", "it", "is", "\n", " ", "1", "<", "Ä"]), min_size=1).map("".join)
SENTENCES = st.text().map(lambda text: text.replace("<", ">").strip()).filter(bool)


@st.composite
def outputs(draw):
    """An output as the models write it, and what it tells."""
    line_break = draw(st.sampled_from(list(LINE_BREAKS.values())))
    reasoning = draw(st.none() | SENTENCES)
    content = draw(st.none() | SENTENCES)
    calls = draw(st.lists(ARGUMENTS, max_size=3))
    text = "" if reasoning is None else f"{line_break}<think>{reasoning}</think>"
    text += "" if content is None else line_break + content
    text += "".join(line_break + call_text("f", arguments, line_break) for arguments in calls)
    expected = [] if reasoning is None else [("think", reasoning)]
    expected += [] if content is None else [("say", content)]
    return text, expected + [("call", "f", arguments, None) for arguments in calls]


def cut(data, text):
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@settings(deadline=None)
@given(outputs(), st.data())
def test_outputs_as_the_models_write_them(output, data):
    text, expected = output
    events = events_of(cut(data, text), TOOLS)
    assert repr(told(events)) == repr(expected)
    assert joined(events) == joined(events_of([text], TOOLS)) == joined(events_of(text, TOOLS))


@settings(deadline=None)
@given(SOUP | SOUP_OF_FORMS | st.text(), st.booleans(), st.booleans(), st.data())
def test_any_text_cut_anywhere_tells_the_same(text, in_reasoning, ended_by_model, data):
    more = {"in_reasoning": in_reasoning, "ended_by_model": ended_by_model}
    events = events_of(cut(data, text), TOOLS, **more)
    assert joined(events) == joined(events_of([text], TOOLS, **more))
    assert joined(events) == joined(events_of(text, TOOLS, **more))
    told(events)


@settings(deadline=None)
@given(SOUP | SOUP_OF_FORMS, st.booleans())
def test_without_tools_nothing_is_left_out_but_tags_of_thinking(text, in_reasoning):
    events = events_of([text], in_reasoning=in_reasoning)
    kept = "".join(event.text for event in events)
    assert re.sub(r"</?think>|\s", "", kept) == re.sub(r"</?think>|\s", "", text)


def plain(value):
    """A text without tags around it, which may be meant to be there, and without line breaks at its ends.

    Where a tag is missing, the text does not tell whether these are its own.
    """
    if not isinstance(value, str):
        return value
    return value.removeprefix("<arg_value>").removesuffix("</arg_value>").strip("\n")


def are_same(found, said):
    """Whether arguments are the same, but for what is at the ends of strings."""
    return repr({key: plain(value) for key, value in found.items()}) == repr(
        {key: plain(value) for key, value in said.items()}
    )


@settings(deadline=None)
@given(
    st.lists(st.fixed_dictionaries({}, optional={"s": WORDS, "t": WORDS, "n": st.integers()}), min_size=1),
    st.sampled_from(list(LINE_BREAKS.values())),
    st.booleans(),
    st.data(),
)
def test_calls_in_which_one_tag_is_missing_or_twice_are_read_as_they_were_or_have_a_problem(
    calls, line_break, is_doubled, data
):
    text = "".join(line_break + call_text("f", arguments, line_break) for arguments in calls)
    tags = list(re.finditer("</?(tool_call|arg_key|arg_value)>", text))
    tag = data.draw(st.sampled_from(tags))
    text = text[: tag.end() if is_doubled else tag.start()] + text[tag.start() if is_doubled else tag.end() :]
    found = told(events_of([text], TOOLS, ended_by_model=True))
    for event in found:
        is_whole = event[0] == "call" and event[3] is None
        assert not is_whole or any(are_same(event[2], arguments) for arguments in calls), text
    n_unharmed = sum(event[0] == "call" and event[3] is None for event in found)
    assert n_unharmed >= len(calls) - 2, text


@settings(deadline=None)
@given(SOUP.map(lambda soup: "<tool_call>f\n<arg_key>s</arg_key><arg_value>" + soup), st.data())
def test_any_text_in_a_call_cut_anywhere_tells_the_same(text, data):
    events = events_of(cut(data, text), TOOLS)
    assert joined(events) == joined(events_of([text], TOOLS)) == joined(events_of(text, TOOLS))
    told(events)


@settings(deadline=None)
@given(st.text(st.sampled_from("<> \n\tab/")))
def test_text_without_whole_tags_is_content_but_for_blank_lines_before_it(text):
    space = text[: len(text) - len(text.lstrip())]
    content = text[space.rfind("\n") + 1 :]
    assert told(events_of(text)) == ([("say", content)] if text.strip() else [])


@pytest.mark.parametrize("name", ("GLM-4.6", "GLM-4.7-Flash"))
def test_what_the_real_templates_render_is_read_as_it_was(name):
    path = SHARED / f"{name}.jinja"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    template = ChatTemplate(path.read_text(encoding="utf-8"))

    @settings(deadline=None)
    @given(SENTENCES, st.just("") | SENTENCES, st.lists(ARGUMENTS, min_size=1, max_size=3))
    def check(reasoning, content, calls):
        answer = {
            "role": "assistant",
            "reasoning_content": reasoning,
            "content": content,
            "tool_calls": [{"function": {"name": "f", "arguments": arguments}} for arguments in calls],
        }
        messages = [{"role": "user", "content": "?"}, answer]
        text = template.render(messages, add_generation_prompt=False, tools=TOOLS)
        output = text.split("<|assistant|>", 1)[1]
        expected = [("think", reasoning)] + ([("say", content)] if content else [])
        expected += [("call", "f", arguments, None) for arguments in calls]
        assert repr(told(events_of([output], TOOLS))) == repr(expected)
        if name != "GLM-4.6":
            generated = output.removeprefix("<think>")
            assert repr(told(events_of([generated], TOOLS, in_reasoning=True))) == repr(expected)

    check()
