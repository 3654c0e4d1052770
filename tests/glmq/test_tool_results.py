"""Results of parallel calls go to the calls that they name, in the order of the calls."""

from __future__ import annotations

from itertools import permutations

import pytest
from glmq_kernels.errors import GlmqError

from glmq.chat.glm_template import GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE
from glmq.chat.messages import check_messages
from glmq.chat.template import ChatTemplate
from glmq.chat.tool_results import in_order_of_calls

from . import conversations as some

USER = {"role": "user", "content": "?"}
NAMES = {"a": "weather", "b": "time", "c": "weather"}


def calling(*ids, names=NAMES):
    calls = [
        {"function": {"name": names.get(each, "f"), "arguments": {}}, **({"id": each} if each else {})}
        for each in ids
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(content, id=None, name=None):
    message = {"role": "tool", "content": content}
    return message | ({"tool_call_id": id} if id is not None else {}) | ({"name": name} if name else {})


def order(*messages):
    return [each["content"] for each in in_order_of_calls([USER, *messages]) if each["role"] == "tool"]


@pytest.mark.parametrize("shuffled", list(permutations("abc")))
def test_ids_tell_the_call(shuffled):
    assert order(calling("a", "b", "c"), *(result(each, each) for each in shuffled)) == ["a", "b", "c"]


@pytest.mark.parametrize("source", (GLM_4_6_TEMPLATE, GLM_4_7_TEMPLATE, *some.REAL), ids=lambda s: s[:7])
def test_the_model_reads_results_in_the_order_of_the_calls(source):
    template = ChatTemplate(some.real_source(source) if source in some.REAL else source)
    in_order = [USER, calling("a", "b"), result("sunny", "a"), result("noon", "b")]
    swapped = [*in_order[:2], *reversed(in_order[2:])]
    assert template.render(swapped) == template.render(in_order)
    assert [each["content"] for each in swapped[2:]] == ["noon", "sunny"]


def test_each_turn_and_each_round_is_sorted_for_itself():
    rounds = [
        calling("a", "b"), result("1b", "b"), result("1a", "a"),
        calling("a", "b"), result("2a", "a"), result("2b", "b"),
        {"role": "assistant", "content": "So."}, USER,
        calling("c", "b"), result("3b", "b"), result("3c", "c"),
    ]  # fmt: skip
    assert order(*rounds) == ["1a", "1b", "2a", "2b", "3c", "3b"]


@pytest.mark.parametrize("no_id", (None, ""))
def test_without_ids_results_keep_their_order(no_id):
    results = [result("1", no_id), result("2", no_id), result("3", no_id)]
    assert order(calling("a", "b", "c"), *results) == ["1", "2", "3"]
    assert order(calling("", "", ""), *results) == ["1", "2", "3"]
    assert order(calling("a", "b", "c"), *results[:2]) == ["1", "2"]


def test_without_ids_the_name_of_a_tool_tells_the_call():
    results = [result("noon", name="time"), result("sunny", name="weather"), result("rain", name="weather")]
    assert order(calling("a", "b", "c"), *results) == ["sunny", "noon", "rain"]
    assert order(calling("", "", names={"": "f"}), *results[:2]) == ["noon", "sunny"]


def test_results_without_ids_take_the_places_that_are_left():
    assert order(calling("a", "b", "c"), result("1"), result("b", "b"), result("2")) == ["1", "b", "2"]
    assert order(calling("a", "", "c"), result("1"), result("c", "c"), result("a", "a")) == ["a", "1", "c"]


def test_where_calls_have_no_ids_those_of_results_mean_nothing():
    assert order(calling("", ""), result("1", "x"), result("2", "y")) == ["1", "2"]


def test_where_calls_share_an_id_results_keep_their_order():
    assert order(calling("a", "a"), result("1", "a"), result("2", "a")) == ["1", "2"]
    assert order(calling("", "a"), result("1", "a"), result("2", "a")) == ["1", "2"]


def test_the_last_results_may_be_missing():
    assert order(calling("a", "b"), result("a", "a")) == ["a"]
    assert order(calling("a", "b")) == []
    assert order(calling("a", "b"), USER) == []


@pytest.mark.parametrize(
    ("messages", "told"),
    (
        ([calling("a", "b"), result("x", "z")], r"^message 3 \(tool\) answers the call z, .* made: a, b$"),
        ([calling("a"), result("x", "a"), calling("b"), result("y", "a")], r"^message 5 .* the call a, "),
        ([calling("a", "b"), result("x", "b"), result("y", "b")], "^message 4 .* the call b a second time$"),
        ([calling("a", "b"), result("x", "b")], "no result of the call a$"),
        (
            [calling("a"), result("x", "a"), result("y")],
            r"^message 4 \(tool\) is a result too many.* 1 call$",
        ),
        ([calling(""), result("x"), result("y"), result("z")], r"^message 4 \(tool\) is a result too many"),
        ([result("x", "a")], r"^message 2 \(tool\) answers no tool call before it$"),
        ([calling("a"), USER, result("x", "a")], r"^message 4 \(tool\) answers no tool call before it$"),
        ([calling(), result("x", "a")], "answers no tool call before it"),
    ),
)
def test_results_without_a_place_are_refused_in_one_line(messages, told):
    for take in (check_messages, ChatTemplate(GLM_4_7_TEMPLATE).render):
        with pytest.raises(GlmqError, match=told):
            take([USER, *messages])
