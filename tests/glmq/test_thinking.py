"""Thinking is switched for each turn, and no turn changes the text of those before it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import given, settings
from hypothesis import strategies as st

from glmq.chat.glm_template import GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE
from glmq.chat.messages import text_of
from glmq.chat.template import CHATML_TEMPLATE, ChatTemplate
from glmq.chat.thinking import render_turn, thinking_format

from . import conversations as some

GLM_4_6, GLM_4_7, PLAIN = map(ChatTemplate, (GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE, CHATML_TEMPLATE))
SWITCH_AT_THE_END = ChatTemplate(
    CHATML_TEMPLATE
    + "{% if add_generation_prompt and enable_thinking is false %}<think>\n\n</think>{% endif %}"
)
SWITCH_IN_THE_SYSTEM_MESSAGE = ChatTemplate(
    "{{ '/no_think' if enable_thinking is defined and not enable_thinking }}" + CHATML_TEMPLATE
)
DEMANDING = ChatTemplate(
    "{{ raise_exception('begin with a system message') if messages[0].role != 'system' }}hi"
)


def user(text, thinking=None):
    message = {"role": "user", "content": text}
    return message if thinking is None else {**message, "thinking": thinking}


def answer(text, thoughts=None, calls=()):
    message = {"role": "assistant", "content": text}
    message |= {"reasoning_content": thoughts} if thoughts else {}
    return message | ({"tool_calls": [{"function": {"name": name}} for name in calls]} if calls else {})


def result(text):
    return {"role": "tool", "content": text}


def text(template, messages, **arguments):
    return render_turn(template, messages, **arguments).text


def facts(template):
    form = thinking_format(template)
    return (form.has_switch, form.user_mark, form.turns_are_free, form.can_preserve, form.prompt_opens)


@pytest.mark.parametrize("name", some.REAL)
def test_what_the_real_templates_make_of_thinking(name):
    expected = (True, "/nothink", True, False, False) if name == "GLM-4.6" else (True, "", True, True, True)
    assert facts(ChatTemplate(some.real_source(name))) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (GLM_4_6, (True, "/nothink", True, False, False)),
        (GLM_4_7, (True, "", True, True, True)),
        (PLAIN, (False, "", True, False, False)),
        (SWITCH_AT_THE_END, (True, "", True, False, False)),
        (SWITCH_IN_THE_SYSTEM_MESSAGE, (True, "", False, False, False)),
        (DEMANDING, (False, "", True, False, False)),
    ],
    ids=("4.6", "4.7", "plain", "at the end", "in the system message", "refuses"),
)
def test_what_a_template_makes_of_thinking_is_found_by_trying_it(template, expected):
    assert facts(template) == expected


def test_a_turn_without_thinking_of_4_6_has_a_mark_and_an_empty_thought():
    assert text(GLM_4_6, [user("hi")], thinking=False).endswith("hi/nothink<|assistant|>\n<think></think>")
    assert text(GLM_4_6, [user("hi")], thinking=True).endswith("hi<|assistant|>")
    assert text(GLM_4_6, [user("hi")]) == text(GLM_4_6, [user("hi")], thinking=True)


def test_only_the_turns_switched_off_have_a_mark():
    messages = [user("a", False), answer("b"), user("c", True), answer("d"), user("e", False)]
    said = text(GLM_4_6, messages)
    assert "a/nothink<" in said and "c<" in said and said.endswith("e/nothink<|assistant|>\n<think></think>")


def test_the_argument_switches_messages_that_say_nothing_themselves():
    messages = [user("a"), answer("b"), user("c", True)]
    assert text(GLM_4_6, messages, thinking=False).endswith("c<|assistant|>")
    assert "a/nothink<" in text(GLM_4_6, messages, thinking=False)


@pytest.mark.parametrize("thinking", (None, True, False))
def test_a_mark_that_the_user_types_switches_off_and_is_not_doubled(thinking):
    said = text(GLM_4_6, [user("hi /nothink")], thinking=thinking)
    assert said.endswith("hi /nothink<|assistant|>\n<think></think>")


@pytest.mark.parametrize("end", (" ", "\n", " \n\t"))
def test_white_space_behind_the_mark_changes_nothing(end):
    said = text(GLM_4_6, [user(f"hi /nothink{end}")], thinking=True)
    assert said.endswith(f"hi /nothink{end}<|assistant|>\n<think></think>")


def test_a_mark_is_put_behind_a_list_of_parts_too():
    parts = [{"type": "text", "text": "a"}, "b"]
    assert "\nab/nothink<" in text(GLM_4_6, [user(parts)], thinking=False)
    assert parts == [{"type": "text", "text": "a"}, "b"]


def test_the_switch_of_4_7_decides_the_end_of_the_prompt_alone():
    messages = [user("a", True), answer("b"), user("c", False)]
    assert text(GLM_4_7, messages).endswith("c<|assistant|></think>")
    assert text(GLM_4_7, [*messages[:-1], user("c", True)]).endswith("c<|assistant|><think>")


@pytest.mark.parametrize(
    ("template", "thinking", "expected"),
    [
        (GLM_4_7, None, True),
        (GLM_4_7, True, True),
        (GLM_4_7, False, False),
        (GLM_4_6, True, False),
        (GLM_4_6, False, False),
        (PLAIN, None, False),
    ],
)
def test_whether_the_answer_begins_inside_the_thinking(template, thinking, expected):
    assert render_turn(template, [user("<think>")], thinking=thinking).in_reasoning is expected


@pytest.mark.parametrize("template", (GLM_4_6, GLM_4_7), ids=("4.6", "4.7"))
@pytest.mark.parametrize("thinking", (False, True))
def test_a_turns_switch_holds_for_all_its_rounds_of_tool_calls(template, thinking):
    messages = [user("a", not thinking), answer("b"), user("c", thinking)]
    end = text(template, messages).rpartition("c")[2]
    end = end.removeprefix("/nothink")
    rounds = [*messages, answer("", "so", ["x"]), result("1"), answer("", None, ["y"]), result("2")]
    assert text(template, rounds).endswith("</tool_response>" + end)


def test_thinking_before_each_call_of_the_turn_stays_and_that_of_earlier_turns_goes():
    messages = [user("a"), answer("b", "old"), user("c"), answer("", "new", ["x"]), result("1")]
    for template in (GLM_4_6, GLM_4_7):
        assert "old" not in text(template, messages)
        assert "<think>new</think>" in text(template, messages)
    assert "<think>old</think>" in text(GLM_4_7, messages, preserve=True)


def test_asking_a_template_without_a_switch_is_refused_unless_a_message_or_nobody_asks():
    for thinking in (True, False):
        with pytest.raises(GlmqError, match="no switch for thinking"):
            render_turn(PLAIN, [user("hi")], thinking=thinking)
    assert text(PLAIN, [user("hi")]) == text(PLAIN, [user("hi", False)])
    assert text(PLAIN, [user("hi")]) == text(PLAIN, [user("hi")], enable_thinking=False)


def test_preserving_where_the_template_cannot_is_refused():
    for template in (GLM_4_6, PLAIN):
        with pytest.raises(GlmqError, match="cannot keep the thinking"):
            render_turn(template, [user("hi")], preserve=True)


def test_hugging_faces_name_for_the_switch_is_understood():
    for switch in (True, False):
        for template in (GLM_4_6, GLM_4_7):
            expected = text(template, [user("hi")], thinking=switch)
            assert text(template, [user("hi")], enable_thinking=switch) == expected


@pytest.mark.parametrize("name", some.REAL)
@settings(deadline=None)
@given(messages=some.conversations(), thinking=some.switches, tools=some.tools)
def test_a_session_with_one_switch_is_what_the_template_makes_of_it(name, messages, thinking, tools):
    template = ChatTemplate(some.real_source(name))
    messages = [m for m in messages if not (m["role"] == "user" and ends_with_mark(m, thinking is False))]
    arguments = {} if thinking is None else {"enable_thinking": thinking}
    expected = template.render(messages, tools=tools, **arguments)
    assert text(template, messages, thinking=thinking, tools=tools) == expected
    if any(m["role"] == "user" for m in messages):
        switched = [{**m, "thinking": thinking} if m["role"] == "user" else m for m in messages]
        assert text(template, switched, tools=tools) == expected


def ends_with_mark(message, is_marked_anyway=False):
    """Whether a user has typed the mark at the end, where it switches; not where it stands there anyway."""
    said = text_of(message)
    return said.rstrip().endswith("/nothink") and not (is_marked_anyway and said.endswith("/nothink"))


@st.composite
def stored_turns(draw):
    """Turns as a chat stores them: each with a switch, and with thoughts exactly where that is on."""
    turns = []
    for _ in range(draw(st.integers(1, 4))):
        switch = draw(st.booleans())
        asked = draw(some.contents.filter(lambda said: not ends_with_mark(user(said))))
        turn = [user(asked, switch), *draw(some.answers(some.texts))]
        for message in turn[1:]:
            if message["role"] == "assistant":
                message["reasoning_content"] = draw(some.texts) + "a thought" if switch else ""
        turns.append(turn)
    return turns


def prompts(template, turns, **arguments):
    """The prompt before each answer, with the number of its turn."""
    messages = []
    found = []
    for number, turn in enumerate(turns):
        for message in turn:
            if message["role"] == "assistant":
                found.append((number, text(template, messages, **arguments)))
            messages = [*messages, message]
    return found


TEMPLATES = pytest.mark.parametrize(
    "template", [pytest.param(GLM_4_6, id="4.6"), pytest.param(GLM_4_7, id="4.7")]
)


@TEMPLATES
@settings(deadline=None)
@given(turns=stored_turns())
def test_within_a_turn_each_prompt_begins_with_the_one_before(template, turns):
    rendered = prompts(template, turns)
    for (turn, before), (next_turn, after) in pairwise(rendered):
        assert turn != next_turn or after.startswith(before)


@TEMPLATES
@settings(deadline=None)
@given(turns=stored_turns())
def test_every_later_prompt_begins_with_all_up_to_a_question(template, turns):
    messages, question = [], ""
    for turn in turns:
        asked = text(template, [*messages, turn[0]])
        assert asked.startswith(question)
        question = asked[: asked.rindex("<|assistant|>")]
        messages += turn


@TEMPLATES
@settings(deadline=None)
@given(turns=stored_turns())
def test_nothing_but_thinking_goes_from_what_came_after_that_question(template, turns):
    question = user("and now?", True)
    told = [message for turn in turns for message in turn]
    silent = [
        message | {"reasoning_content": ""} if message["role"] == "assistant" else message for message in told
    ]
    assert text(template, [*told, question]) == text(template, [*silent, question])


@TEMPLATES
@settings(deadline=None)
@given(turns=stored_turns())
def test_where_messages_hold_their_switches_that_of_the_session_changes_nothing(template, turns):
    messages = [message for turn in turns for message in turn[:-1]]
    assert len({text(template, messages, thinking=thinking) for thinking in (None, True, False)}) == 1


@settings(deadline=None)
@given(turns=stored_turns())
def test_with_thinking_preserved_each_prompt_begins_with_the_one_before(turns):
    rendered = [prompt for _, prompt in prompts(GLM_4_7, turns, preserve=True)]
    assert all(after.startswith(before) for before, after in pairwise(rendered))


@settings(deadline=None)
@given(turns=stored_turns())
def test_after_a_turn_without_thinking_nothing_of_the_prompt_changes(turns):
    for template in (GLM_4_6, GLM_4_7):
        rendered = prompts(template, turns)
        for (turn, before), (_, after) in pairwise(rendered):
            if not turns[turn][0]["thinking"]:
                assert after.startswith(before)
