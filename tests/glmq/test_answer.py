"""Answers: what comes while they are generated, what is kept of them, and how they end."""

from __future__ import annotations

import json
import re
from functools import partial

import pytest
from glmq_kernels.disk_reads.disk_reader import DiskReader
from glmq_kernels.errors import GlmqError

import glmq
from glmq.answer_costs import Timings
from glmq.chat.answer import Answer
from glmq.chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from glmq.chat.output_parser import OutputParser
from glmq.constraint import json_schema_constraint, regex_constraint
from glmq.experts import disk as disk_module

from .disk_models import UnreliableDisk, load_from_disk
from .small_models import write_glm4moe
from .talks import call, new_talk

QUESTION = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}


class Pieces:
    """In place of a generation: texts, after which something may be raised."""

    def __init__(self, *pieces, error=None, finish_reason="stop"):
        self.tokens, self.timings, self.finish_reason = [], Timings(), None
        self._pieces, self._error, self._end = pieces, error, finish_reason
        self._cancelled = False

    def cancel(self):
        self._cancelled = True

    def __iter__(self):
        for piece in self._pieces:
            if self._cancelled:
                self.finish_reason = "cancelled"
                return
            yield piece
        if self._error:
            raise self._error
        self.finish_reason = self._end


def answer_of(*pieces, in_reasoning=True, stop=(), **more):
    return Answer(Pieces(*pieces, **more), OutputParser([WEATHER], in_reasoning=in_reasoning), stop)


def characters(text):
    return list(text)


COMPLETE = f"Hm.</think>I look.{call('weather', city='Köln', days=2)}"


def test_events_come_in_their_order():
    answer = answer_of("Hm.", "</think>I", " look.", call("weather", city="Köln", days=2))
    events = list(answer.events())
    assert events[0] == ReasoningText("Hm.")
    assert [event.text for event in events if isinstance(event, ContentText)] == ["I", " look."]
    assert [type(event) for event in events if not isinstance(event, (ReasoningText, ContentText))] == [
        ToolCallBegin, *[ToolCallText] * (len(events) - 5), ToolCallEnd
    ]  # fmt: skip
    assert events[-1] == ToolCallEnd(0, "weather", {"city": "Köln", "days": 2}, None)


def test_pieces_are_content_alone():
    answer = answer_of(*characters(COMPLETE + "Then."))
    assert "".join(answer) == "I look.Then." == answer.content
    assert answer.reasoning == "Hm."


def test_the_message_is_one_for_the_conversation():
    answer = answer_of(COMPLETE)
    assert answer.run() == "I look."
    [made] = answer.tool_calls
    assert answer.message == {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "Hm.",
        "tool_calls": [made],
    }
    assert made["id"].startswith("call_") and made["type"] == "function"
    assert made["function"] == {"name": "weather", "arguments": {"city": "Köln", "days": 2}}
    assert answer.finish_reason == "tool_calls"


def test_without_thinking_and_calls_the_message_holds_the_content_alone():
    answer = answer_of("Hi.", in_reasoning=False)
    answer.run()
    assert answer.message == {"role": "assistant", "content": "Hi."}
    assert answer.finish_reason == "stop"


def test_what_is_there_can_be_read_while_it_grows():
    answer = answer_of("Hm.", "</think>", "One", " two")
    seen = [(type(event).__name__, answer.reasoning, answer.content) for event in answer.events()]
    assert seen == [
        ("ReasoningText", "Hm.", ""),
        ("ContentText", "Hm.", "One"),
        ("ContentText", "Hm.", "One two"),
    ]


@pytest.mark.parametrize("reason", ("length", "context", "cancelled"))
def test_an_end_that_is_not_the_models_is_told_even_after_calls(reason):
    answer = answer_of(COMPLETE, finish_reason=reason)
    answer.run()
    assert answer.finish_reason == reason


def test_a_call_without_its_end_has_a_problem():
    answer = answer_of("Hm.</think>", "<tool_call>weather<arg_key>city</arg_key><arg_value>Kö")
    answer.run()
    [cut] = answer.tool_calls
    assert cut["function"]["name"] == "weather"
    assert "ended" in cut["problem"]


def test_calls_that_cannot_be_run_are_no_calls_that_ended_it():
    answer = answer_of("Hm.</think>", call("whether", city="Köln"))
    answer.run()
    [unknown] = answer.tool_calls
    assert unknown["problem"] == "there is no tool whether; there is weather"
    assert answer.finish_reason == "stop"
    answer = answer_of("Hm.</think>", call("whether", city="Köln"), call("weather", city="Köln"))
    answer.run()
    assert [("problem" in each) for each in answer.tool_calls] == [True, False]
    assert answer.finish_reason == "tool_calls"


STOPPED = {
    "in content": ("Hm.</think>One, two, three", ["two"], "One, "),
    "in thinking and content": ("One\n\ntwo</think>\nThree\n\nfour", ["\n\n"], "Three"),
    "in thinking alone": ("One\n\ntwo</think>Three", ["\n\n"], "Three"),
    "the first of several": ("</think>One, two, three", ["three", "two"], "One, "),
    "whose beginning alone comes": ("</think>One, tw", ["two"], "One, tw"),
    "of a tag's form": ("</think>One <b>two</b>", ["</b>"], "One <b>two"),
    "at the beginning": ("</think>One", ["One"], ""),
}


@pytest.mark.parametrize(("text", "stop", "content"), STOPPED.values(), ids=STOPPED)
def test_stop_texts_end_the_content_and_nothing_else(text, stop, content):
    for pieces in ([text], characters(text)):
        answer = answer_of(*pieces, stop=stop)
        told = "".join(event.text for event in answer.events() if isinstance(event, ContentText))
        assert told == answer.content == content
        assert answer.finish_reason == "stop"
        assert answer.reasoning == text.partition("</think>")[0]


def test_stop_texts_in_arguments_of_calls_are_text():
    answer = answer_of("</think>I look.", call("weather", city="Köln\n\nMitte"), stop=["\n\n", "look.Well"])
    answer.run()
    assert answer.content == "I look." and answer.finish_reason == "tool_calls"
    assert answer.tool_calls[0]["function"]["arguments"] == {"city": "Köln\n\nMitte"}


def test_a_stop_text_ends_the_generation(glm_4_7, says):
    says("So.\n\nIt is.</think>One two three four five six")
    answer = glm_4_7.chat(QUESTION, stop="three")
    assert answer.run() == "One two "
    assert answer.finish_reason == "stop"
    assert answer.reasoning == "So.\n\nIt is."
    assert len(glm_4_7.detokenize(answer.generation.tokens)) < len("So.\n\nIt is.</think>One two three four ")


@pytest.mark.parametrize("error", (KeyboardInterrupt, GlmqError("the disk failed")))
def test_an_interruption_keeps_what_may_have_begun_a_stop_text(error):
    answer = answer_of("</think>One, tw", error=error, stop=["two"])
    with pytest.raises(BaseException):  # noqa: B017, PT011
        answer.run()
    assert answer.content == "One, tw"


@pytest.mark.parametrize(
    ("text", "ended"), (("Hm.", True), ("Hm.</think>", False), ("Hm.</think>Hi", False), ("", True))
)
def test_whether_there_is_thinking_alone_is_known(text, ended):
    answer = answer_of(text)
    assert not answer.ended_in_thinking
    answer.run()
    assert answer.ended_in_thinking == ended


def test_without_tools_tags_of_calls_are_content(glm_4_7, says):
    said = "The tag is `<tool_call>`. It opens a call, many lines follow."
    says(f"<tool_call>f</tool_call></think>{said}")
    answer = glm_4_7.chat(QUESTION)
    assert answer.run() == said
    assert (answer.finish_reason, answer.tool_calls) == ("stop", [])
    assert answer.reasoning == "<tool_call>f</tool_call>"


def test_constrained_content_with_tags_is_whole(glm_4_7):
    schema = {"const": "a <tool_call>weather</tool_call> <think>"}
    answer = glm_4_7.chat(
        QUESTION, tools=[WEATHER], think_budget=2, constraint=json_schema_constraint(schema),
        sampling=glmq.Sampling(seed=1),
    )  # fmt: skip
    assert json.loads(answer.run()) == schema["const"]
    assert answer.finish_reason == "stop"


CONTINUED = [{"role": "assistant", "reasoning_content": "I think", "content": "It is"}]


@pytest.mark.parametrize("key", ("reasoning_content", "reasoning", "thinking"))
def test_continued_thinking_is_thinking_up_to_its_end(glm_4_7, says, key):
    asked = says(" so.\n</think>Hello")
    answer = glm_4_7.chat([*QUESTION, *CONTINUED], continue_final_message=key)
    assert answer.run() == "Hello"
    assert answer.reasoning == " so."
    assert asked.prompts[0].endswith("<think>I think")


@pytest.mark.parametrize("key", (True, "content"))
@pytest.mark.parametrize("thinking", (None, True, False))
def test_continued_content_is_content_from_its_beginning(glm_4_7, says, key, thinking):
    asked = says("\n\n<think>so</think>")
    answer = glm_4_7.chat([*QUESTION, *CONTINUED], continue_final_message=key, thinking=thinking)
    assert answer.run() == "\n\n<think>so</think>"
    assert not answer.reasoning
    assert asked.prompts[0].endswith("</think>It is")


def test_a_prompt_without_a_beginning_of_the_answer(glm_4_7, says):
    asked = says("Hi.")
    answer = glm_4_7.chat(QUESTION, thinking=False, add_generation_prompt=False)
    assert answer.run() == "Hi."
    assert asked.prompts[0].endswith("Hello")


def test_cancelling_ends_it():
    answer = answer_of("Hm.</think>One", " two", " three")
    pieces = []
    for piece in answer:
        pieces.append(piece)
        answer.cancel()
    assert pieces == ["One"] and answer.finish_reason == "cancelled"
    assert answer.message["content"] == "One"


@pytest.mark.parametrize("error", (KeyboardInterrupt, GlmqError("the disk failed")))
@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    (
        ("Hm. </thi", "Hm. </thi", ""),
        ("Hm.</think>I am <tool_", "Hm.", "I am <tool_"),
        ("Hm.</think>I am", "Hm.", "I am"),
        ("", "", ""),
    ),
)  # fmt: skip
def test_an_interruption_keeps_all_that_came(error, text, reasoning, content):
    answer = answer_of(*characters(text), error=error)
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        answer.run()
    assert raised.type in (KeyboardInterrupt, GlmqError)
    assert (answer.reasoning, answer.content) == (reasoning, content)


def test_a_call_that_was_interrupted_has_a_problem():
    answer = answer_of(*characters(COMPLETE.removesuffix("</tool_call>")), error=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        answer.run()
    [cut] = answer.tool_calls
    assert cut["function"]["name"] == "weather" and cut["problem"]
    assert answer.content == "I look."


def test_a_reader_that_stops_reading_loses_nothing():
    answer = answer_of("Hm.</think>One <to", "ol")
    for _ in answer.events():
        break
    answer.events().close()
    assert answer.reasoning == "Hm."


def test_a_models_answer_with_tools(glm_4_7, says):
    asked = says(COMPLETE, "So.</think>It is sunny.")
    messages = list(QUESTION)
    answer = glm_4_7.chat(messages, tools=[WEATHER])
    answer.run()
    messages += [answer.message, {"role": "tool", "content": "sunny"}]
    answer = glm_4_7.chat(messages, tools=[WEATHER])
    assert answer.run() == "It is sunny."
    assert asked.prompts[1].endswith(
        "<|observation|><tool_response>sunny</tool_response><|assistant|><think>"
    )


def test_a_models_answer_without_thinking(glm_4_7, says):
    asked = says("Hi.", "Hi.", "So.</think>Hi.")
    assert glm_4_7.chat(QUESTION, thinking=False).run() == "Hi."
    question = {**QUESTION[0], "thinking": False}
    assert glm_4_7.chat([question], thinking=True).run() == "Hi."
    assert glm_4_7.chat(QUESTION, thinking=True).run() == "Hi."
    assert [prompt.endswith("</think>") for prompt in asked.prompts] == [True, True, False]


def test_thinking_that_has_no_switch_is_refused_before_anything_is_read(tmp_path):
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", name="plain", chat_template=template)
    with glmq.load(path) as model:
        with pytest.raises(GlmqError, match="no switch"):
            model.chat(QUESTION, thinking=False)
        answer = model.chat([{**QUESTION[0], "thinking": False}], max_tokens=3)
        answer.run()


@pytest.mark.parametrize("thinking", (True, False))
def test_a_constraint_holds_for_the_answer_alone(glm_4_7, thinking):
    constraint = regex_constraint("(yes|no){3}")
    sampling = glmq.Sampling(seed=2)
    answer = glm_4_7.chat(
        QUESTION, thinking=thinking, think_budget=4, constraint=constraint, sampling=sampling
    )
    assert re.fullmatch("\n*(yes|no){3}", answer.run())
    assert answer.finish_reason == "stop"
    assert bool(answer.reasoning) == thinking


def test_a_constraint_does_not_make_models_think_that_never_do(tmp_path):
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", name="plain", chat_template=template)
    with glmq.load(path) as model:
        think = {model.tokenizer.token_id("<think>"): 50.0}
        sampling = glmq.Sampling(seed=1, logit_bias=think)
        answer = model.chat(QUESTION, constraint=regex_constraint("(yes|no){3}"), sampling=sampling)
        assert re.fullmatch("\n*(yes|no){3}", answer.run())
        assert not answer.reasoning


def test_progress_and_limits_are_those_of_a_generation(glm_4_7):
    done = []
    answer = glm_4_7.chat(QUESTION, max_tokens=2, progress=lambda n, of: done.append((n, of)))
    answer.run()
    assert answer.finish_reason == "length"
    assert answer.timings.n_generated == 2
    assert done[-1][0] == done[-1][1] == len(answer.generation.prompt)


def test_sessions_are_apart(glm_4_7, says):
    says(*["</think>ok"] * 3)
    one, other = glm_4_7.session(), glm_4_7.session()
    glm_4_7.chat(QUESTION, session=one).run()
    answer = glm_4_7.chat(QUESTION, session=other)
    answer.run()
    assert answer.timings.n_cached == 0
    answer = glm_4_7.chat(QUESTION, session=one)
    answer.run()
    assert answer.timings.n_cached == len(answer.generation.prompt) - 1


def test_a_failing_disk_keeps_the_text_so_far(monkeypatch, tmp_path, glm_4_7_path):
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path / "profiles")
    disk = UnreliableDisk(failures=0)
    monkeypatch.setattr(disk_module, "DiskReader", partial(DiskReader, read=disk.address))
    with load_from_disk(monkeypatch, glm_4_7_path, 2, n_ctx=256) as model:
        talk = new_talk(
            monkeypatch, model, ["Hm.</think>All is well, as far as I can see.", "</think>Again."]
        )
        talk.script.stop_at = "far"
        talk.script.stop = lambda: setattr(disk, "failures", 10**9)
        (tmp_path / "a.txt").write_text("inside")
        with pytest.raises(GlmqError, match="cannot be read at byte"):
            talk.say(f"/file {tmp_path / 'a.txt'}", "How is it?")
        assert talk.messages[1]["reasoning_content"] == "Hm."
        assert talk.messages[1]["content"].startswith("All is well, as far")
        disk.failures = 0
        talk.say("And now?")
        assert talk.messages[-1]["content"] == "Again."
        assert talk.messages[1]["content"] in talk.prompts[1]
        assert talk.prompts[1].count("inside") == 1
