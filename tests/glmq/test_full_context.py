"""A conversation that the context will soon not hold: what goes before an answer, never within one."""

from __future__ import annotations

import pytest

import glmq
from glmq import Compaction, ContextFull, GlmqError

from .talks import call, new_talk, said

N_CTX = 1000
LONG = "x" * 365


def answers(*texts):
    """As the model gives them, without thinking."""
    return [f"</think>{text}" for text in texts]


@pytest.fixture
def begin(glm_4_7_path):
    """Begins conversations in a context of 1000 tokens."""
    with glmq.load(glm_4_7_path, n_ctx=N_CTX) as model:
        yield lambda **more: model.conversation(**more)


def compactions(turn):
    return [event for event in turn.events() if isinstance(event, Compaction)]


def test_nothing_goes_unless_it_is_asked_for(says, begin):
    says(*answers(LONG, LONG, LONG, LONG))
    chat = begin()
    assert chat.when_full == "stop"
    assert compactions(chat.send("one")) == compactions(chat.send("two")) == []
    turn = chat.send("three")
    assert compactions(turn) == [] and turn.finish_reason == "context"
    with pytest.raises(ContextFull):
        chat.send("four").run()


def test_the_oldest_turns_are_dropped_before_an_answer_that_would_have_no_room(says, begin):
    script = says(*answers(LONG, LONG, "three", "four"))
    chat = begin(system="Be brief.", when_full="drop")
    assert compactions(chat.send("one")) == compactions(chat.send("two")) == []
    before = chat.n_used
    turn = chat.send("three")
    (done,) = compactions(turn)
    assert turn.finish_reason == "stop" and done.summary == "" and done.n_before > before
    assert done.n_after <= (N_CTX - N_CTX // 4) // 2
    assert said(chat) == ["Be brief.", "three", "three"], "half of the room is free again"
    assert "Be brief." in script.prompts[-1] and LONG not in script.prompts[-1]
    assert compactions(chat.send("four")) == []
    assert said(chat)[1:] == ["three", "three", "four", "four"]


def test_the_room_is_that_of_an_answer_whose_length_is_limited(says, begin):
    says(*answers(LONG, LONG, "three"))
    chat = begin(when_full="drop", options=glmq.ChatOptions(max_tokens=100))
    chat.send("one").run()
    chat.send("two").run()
    assert compactions(chat.send("3")) == []


def test_a_summary_takes_the_place_of_the_older_half(says, begin):
    script = says(*answers("x" * 500, "y" * 150, "They counted.", "three"))
    chat = begin(when_full="summarise")
    chat.send("one").run()
    chat.send("two").run()
    turn = chat.send("3" * 100)
    (done,) = compactions(turn)
    assert (done.n_turns, done.summary, turn.content) == (1, "They counted.", "three")
    assert said(chat)[0].endswith("They counted.") and said(chat)[2] == "two"
    assert "They counted." in script.prompts[-1] and "x" * 500 not in script.prompts[-1]


def test_without_a_summary_the_turns_are_dropped(says, begin):
    says(*answers("x" * 500, "y" * 150, "", "three"))
    chat = begin(when_full="summarise")
    chat.send("one").run()
    chat.send("two").run()
    (done,) = compactions(chat.send("3" * 100))
    assert done.summary == "" and done.lacks_summary
    assert said(chat)[-1] == "three"


def test_a_summary_that_makes_too_little_room_is_summarised_with_what_follows_it(says, begin):
    script = says(*answers("x" * 60, "y" * 60, "z" * 400, "First.", "All of it.", "five"))
    chat = begin(when_full="summarise")
    for text in ("one", "two", "three"):
        chat.send(text).run()
    (done,) = compactions(chat.send("v" * 300))
    assert (done.summary, done.n_turns, done.lacks_summary) == ("All of it.", 3, False)
    assert "First." in script.prompts[-2] and "z" * 400 in script.prompts[-2]
    assert said(chat)[0].endswith("All of it.") and said(chat)[-1] == "five" and len(said(chat)) == 4


def test_between_two_answers_of_a_turn_older_turns_may_go_and_the_turn_itself_stays(says, glm_4_7_path):
    def read() -> str:
        """Read a text."""
        return "word " * 20

    with glmq.load(glm_4_7_path, n_ctx=2000) as model:
        chat = model.conversation(tools=[read], when_full="drop")
        says(*answers("x" * 500, call("read"), "done"))
        chat.send("one").run()
        chat.options = glmq.ChatOptions(max_tokens=model.n_ctx - chat.n_used - 60)
        turn = chat.send("Read it.")
        assert len(compactions(turn)) == 1 and turn.content == "done"
        assert [message["role"] for message in turn.messages] == ["assistant", "tool", "assistant"]
        assert said(chat)[0] == "Read it."


def test_a_turn_that_comes_to_nothing_takes_nothing_away(says, begin):
    says(*answers(LONG, LONG))
    chat = begin(when_full="drop")
    chat.send("one").run()
    chat.send("two").run()
    before = chat.messages
    with pytest.raises(ContextFull):
        chat.send(2 * N_CTX * "x").run()
    assert chat.messages == before


@pytest.mark.parametrize("way", ["drop", "summarise"])
def test_for_a_question_that_never_fits_nothing_goes(says, begin, way):
    script = says(*answers(LONG, LONG, "A summary."))
    chat = begin(when_full=way)
    chat.send("one").run()
    chat.send("two").run()
    turn, seen = chat.send(2 * N_CTX * "x"), []
    with pytest.raises(ContextFull):
        seen.extend(turn.events())
    assert seen == [] and "Summarise" not in "".join(script.prompts)


def test_a_cancelled_summary_changes_nothing(says, begin):
    says(*answers("x" * 500, "y" * 150, "z" * 60))
    chat = begin(when_full="summarise")
    chat.send("one").run()
    chat.send("two").run()
    before = chat.messages
    turn = chat.send("3" * 100)
    chat.writing = lambda done, wanted: turn.cancel()
    assert (turn.run(), turn.finish_reason) == ("", "cancelled")
    assert chat.messages == before


def test_other_ways_are_refused(begin):
    with pytest.raises(GlmqError, match="'forget'.*stop, drop, summarise"):
        begin(when_full="forget")
    chat = begin()
    with pytest.raises(GlmqError, match="'forget'"):
        chat.when_full = "forget"


def test_the_chat_tells_what_will_go_and_what_has_gone(monkeypatch, glm_4_7_path, capsys):
    with glmq.load(glm_4_7_path, n_ctx=N_CTX) as model:
        talk = new_talk(monkeypatch, model, answers(LONG, LONG, "three", "four"))
        assert talk.say("/set when_full drop") == "when_full is drop now."
        talk.say("one", "two" * 20)
        assert "the oldest turns will be dropped when it is full." in capsys.readouterr().err
        talk.say("three")
        assert "[Dropped the oldest 2 turns; the conversation has 1 turn now," in capsys.readouterr().err
        assert talk.say("/set when_full") == "when_full drop"
        with pytest.raises(GlmqError, match="choose stop, drop, summarise"):
            talk.say("/set when_full away")
