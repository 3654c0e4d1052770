"""Thinking in a chat: switched for all turns or one, shown or not, limited, kept or dropped."""

from __future__ import annotations

import pytest

from glmq import Sampling

from .talks import n_cached, new_talk, piped_chat, prompts_in

ON, OFF = "<|assistant|><think>", "<|assistant|></think>"
"""How GLM-4.7's prompts end."""


def ends(prompts):
    return ["on" if each.endswith(ON) else "off" if each.endswith(OFF) else each[-40:] for each in prompts]


def thought(i):
    return f"thought {i}</think>answer {i}"


def test_4_7_thinks_unless_it_is_told_otherwise(monkeypatch, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, [thought(1), "answer 2"])
    talk.say("one", "/nothink", "two")
    assert ends(talk.prompts) == ["on", "off"]
    assert talk.messages[1] == {"role": "assistant", "content": "answer 1", "reasoning_content": "thought 1"}
    assert talk.messages[3] == {"role": "assistant", "content": "answer 2"}


def test_a_message_behind_the_switch_is_for_its_turn_alone(monkeypatch, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, ["a", thought(2), "c", thought(4), "e"], think=False)
    talk.say("one", "/think two", "three", "/think\nfour\nlines", "five")
    assert ends(talk.prompts) == ["off", "on", "off", "on", "off"]
    assert "<|user|>four\nlines<|assistant|>" in talk.prompts[3]


def test_the_switch_alone_is_from_now_on(monkeypatch, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, ["a", "b", thought(3), thought(4)])
    assert talk.say("/nothink") == "think is off now: answers come without thinking."
    talk.say("one", "two")
    assert talk.say("/think") == "think is on now: answers come with thinking."
    talk.say("three", "four")
    assert ends(talk.prompts) == ["off", "off", "on", "on"]


def test_4_6_marks_the_turns_without_thinking_and_no_others(monkeypatch, glm_4_6):
    replies = ["\n<think>thought 1</think>\nanswer 1", "answer 2", "\n<think>thought 3</think>\nanswer 3"]
    talk = new_talk(monkeypatch, glm_4_6, replies)
    talk.say("one", "/nothink two", "three")
    assert talk.prompts[0].endswith("<|user|>\none<|assistant|>")
    assert talk.prompts[1].endswith("<|user|>\ntwo/nothink<|assistant|>\n<think></think>")
    assert "<|user|>\none<|assistant|>" in talk.prompts[2]
    assert talk.prompts[2].endswith("<|user|>\nthree<|assistant|>")
    assert [each.get("reasoning_content") for each in talk.messages[1::2]] == ["thought 1", None, "thought 3"]
    assert [each["content"] for each in talk.messages[1::2]] == ["answer 1", "answer 2", "answer 3"]


@pytest.mark.parametrize(
    ("option", "end", "reply"), (("--think", "on", thought(1)), ("--no-think", "off", "ok"))
)
def test_options(tmp_path, glm_4_7_path, option, end, reply):
    code, out, _ = piped_chat(tmp_path, glm_4_7_path, [reply], option, lines=["one"])
    assert (code, out) == (0, reply.split("</think>")[-1] + "\n")
    assert ends(prompts_in(tmp_path)) == [end]


def test_through_pipes_thinking_goes_to_standard_error_unless_it_is_hidden(tmp_path, glm_4_7_path):
    _, out, err = piped_chat(tmp_path, glm_4_7_path, [thought(1)], "--no-stats", lines=["one"])
    assert (out, err) == ("answer 1\n", "thought 1\n")
    hidden = "--think-view=hidden"
    _, out, err = piped_chat(tmp_path, glm_4_7_path, [thought(1)], "--no-stats", hidden, lines=["one"])
    assert (out, err) == ("answer 1\n", "")


def test_the_last_thinking_can_be_shown(monkeypatch, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, [thought(1), thought(2), "</think>answer 3"])
    assert talk.say("/thinking") == "There was no thinking."
    assert talk.say("one", "two", "/thinking") == "thought 2"
    assert talk.say("three", "/thinking") == "thought 2"


def test_earlier_thinking_leaves_the_prompt_and_the_cache_goes_back_no_further(monkeypatch, capsys, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, [thought(1), thought(2), thought(3)])
    talk.say("one", "two", "three")
    assert "thought" not in talk.prompts[2]
    first, second, third = n_cached(capsys.readouterr().err)
    assert first == 0
    tokens = glm_4_7.tokenize
    assert second == len(tokens(talk.prompts[0])) - 1  # the <think> at its end becomes </think>
    assert third == len(tokens(talk.prompts[1])) - 1


def test_kept_thinking_is_in_the_prompt_and_nothing_is_read_twice(monkeypatch, capsys, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, [thought(1), thought(2), thought(3)], think_keep=True)
    talk.say("one", "two", "three")
    assert "<think>thought 1</think>answer 1" in talk.prompts[2]
    assert "<think>thought 2</think>answer 2" in talk.prompts[2]
    _, second, third = n_cached(capsys.readouterr().err)
    tokens = glm_4_7.tokenize
    assert second == len(tokens(talk.prompts[0] + thought(1))) - 1  # the last token was drawn, not read
    assert third == len(tokens(talk.prompts[1] + thought(2))) - 1


def test_thinking_can_be_kept_from_some_turn_on(monkeypatch, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, [thought(1), thought(2)])
    talk.say("one", "/set think_keep on", "two")
    assert "thought 1" in talk.prompts[1]


def test_4_6_refuses_to_keep_thinking(tmp_path, monkeypatch, glm_4_6_path, glm_4_6):
    code, out, err = piped_chat(tmp_path, glm_4_6_path, [], "--think-keep", lines=["one"])
    assert (code, out) == (2, "")
    assert err == (
        "glmq: error: the model's chat template cannot keep the thinking of earlier turns (GLM-4.7's can);"
        " leave that out (--think-keep)\n"
    )
    talk = new_talk(monkeypatch, glm_4_6, [])
    with pytest.raises(Exception, match="cannot keep"):
        talk.say("/set think_keep on")
    assert not talk.settings.think_keep


def letters_only(model):
    """Makes a random model write letters and nothing that would end its thinking."""
    is_letter = [model.detokenize([token]).isalpha() for token in range(model.n_vocab)]
    return Sampling(seed=1, logit_bias={i: -99.0 for i, wanted in enumerate(is_letter) if not wanted})


def test_a_budget_closes_the_thinking_and_the_answer_follows(glm_4_7):
    question = [{"role": "user", "content": "Hello"}]
    answer = glm_4_7.chat(question, think_budget=12, max_tokens=40, sampling=letters_only(glm_4_7))
    answer.run()
    tokens = answer.generation.tokens
    thoughts, answered = (glm_4_7.detokenize(part) for part in (tokens[:12], tokens[12:]))
    assert answered.startswith("</think>") and len(answered) > len("</think>")
    assert (answer.reasoning, answer.content) == (thoughts, answered.removeprefix("</think>"))


def test_a_budget_can_be_set_while_the_chat_goes_on(monkeypatch, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, None, max_tokens=30, sampling=letters_only(glm_4_7))
    talk.say("one")
    assert talk.messages[-1]["content"] == ""  # it thinks for longer than that
    talk.say("/set think_budget 4", "two")
    assert talk.messages[-1]["content"]


@pytest.mark.parametrize(
    ("reply", "options", "told"),
    (
        ("a thought <tool_call>", [], "The model ended inside its thinking, so there is no answer"),
        ("a long thought without an end", ["-n", "3"], "The answer's limit was reached inside the thinking"),
        ("x" * 500, ["--ctx", "256"], "The context ended inside the thinking, so there is no answer."),
        ("a thought</think>", [], "The model ended its answer without a word."),
    ),
)  # fmt: skip
def test_through_pipes_an_answer_that_is_none_is_told_and_no_success(
    tmp_path, glm_4_7_path, reply, options, told
):
    code, out, err = piped_chat(tmp_path, glm_4_7_path, [reply], *options, lines=["one"])
    assert (code, out) == (3, "")
    assert told in err


def test_thinking_without_an_answer_is_kept_and_told(monkeypatch, capsys, glm_4_7):
    talk = new_talk(monkeypatch, glm_4_7, ["a thought", thought(2)])
    talk.say("one")
    assert "ended inside its thinking" in capsys.readouterr().err
    assert talk.messages[1] == {"role": "assistant", "content": "", "reasoning_content": "a thought"}
    talk.say("two")
    assert talk.n_unanswered == 1
    assert talk.messages[3]["content"] == "answer 2"
