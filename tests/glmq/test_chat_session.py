"""A conversation as a program holds it: turns, what ends them, and what stays of them."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading

import pytest

import glmq
from glmq import ChatOptions, GlmqError, SessionBusy, ToolCallResult
from glmq.chat.summary import NoSummary

from .talks import call, said

ADD = call("add", a=2, b=3)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_a_question_and_its_answer_are_the_next_messages(says, begin):
    script = says("Hm.</think>Blue.", "</think>Red.")
    chat = begin("Be brief.")
    with chat.send("Why?") as answer:
        assert "".join(answer) == "Blue."
    assert (answer.reasoning, answer.finish_reason, answer.done) == ("Hm.", "stop", True)
    assert chat.send("And then?").run() == "Red."
    assert said(chat) == ["Be brief.", "Why?", "Blue.", "And then?", "Red."]
    assert chat.messages[2]["reasoning_content"] == "Hm."
    assert "Be brief." in script.prompts[1] and "Blue." in script.prompts[1]


def test_a_turn_reads_only_what_is_new(says, begin):
    says("</think>Blue.", "</think>Red.")
    chat = begin()
    chat.send("Why?").run()
    turn = chat.send("And then?")
    turn.run()
    assert 0 < turn.usage.cached_tokens < turn.usage.prompt_tokens
    assert turn.usage.prompt_tokens == turn.timings.n_cached + turn.timings.n_prompt


def test_nothing_happens_before_somebody_reads_it(says, begin):
    script = says("</think>Blue.")
    chat = begin()
    turn = chat.send("Why?")
    assert chat.messages == [] and script.prompts == [] and not turn.done
    turn.close()
    assert (turn.run(), turn.finish_reason, chat.messages) == ("", "cancelled", [])


def test_all_rounds_are_one_stream(says, begin):
    says(f"First.</think>I add.{ADD}", f"</think>{ADD}{ADD}", "</think>Five.")
    chat = begin(tools=[add])
    turn = chat.send("2 + 3?")
    events = list(turn.events())
    results = [each for each in events if isinstance(each, ToolCallResult)]
    assert [(each.index, each.name, each.text) for each in results] == [
        (0, "add", "5"), (0, "add", "5"), (1, "add", "5"),
    ]  # fmt: skip
    assert [message["role"] for message in turn.messages] == [
        "assistant", "tool", "assistant", "tool", "tool", "assistant",
    ]  # fmt: skip
    assert chat.messages[1:] == turn.messages
    assert (turn.content, turn.finish_reason, len(turn.answers)) == ("Five.", "stop", 3)
    assert turn.usage.completion_tokens == sum(each.usage.completion_tokens for each in turn.answers)


def test_the_caller_decides_which_calls_run(says, begin):
    says(f"</think>{ADD}", "</think>Then not.")
    chat = begin(tools=[add], approve=lambda call: "not on Sundays")
    [result] = [each for each in chat.send("2 + 3?").events() if isinstance(each, ToolCallResult)]
    assert result.refused and "not on Sundays" in result.text
    assert said(chat)[-1] == "Then not."


def test_rounds_have_a_limit(says, begin):
    says(f"</think>{ADD}", f"</think>{ADD}")
    chat = begin(tools=[add], max_rounds=1)
    turn = chat.send("2 + 3?")
    turn.run()
    assert turn.out_of_rounds and "limit" in said(chat)[-1]


def test_a_call_that_is_demanded_is_demanded_once(says, begin, glm_4_7):
    says(f"</think>{ADD}", "</think>Five.")
    chat = begin(tools=[add], options=ChatOptions(tool_choice="required"))
    assert chat.send("2 + 3?").run() == "Five."


def begun(turn):
    """The events of a turn behind those of the thought "Hm."."""
    stream = turn.events()
    thought = ""
    while thought != "Hm.":
        thought += next(stream).text
    return stream


ENDS = {
    "cancel": lambda turn: turn.cancel(),
    "close": lambda turn: turn.close(),
    "leave": lambda turn: turn.__exit__(None, None, None),
    "cancel in a thread": lambda turn: in_thread(turn.cancel),
}


def in_thread(run):
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


@pytest.mark.parametrize("end", ENDS)
def test_what_is_there_of_an_answer_that_was_ended_stays(says, begin, end):
    says("Hm.</think>All is well.", "</think>Yes.")
    chat = begin()
    turn = chat.send("How is it?")
    begun(turn)
    ENDS[end](turn)
    assert chat.messages[1] == {"role": "assistant", "content": "", "reasoning_content": "Hm."}
    assert (turn.done, turn.finish_reason) == (True, "cancelled")
    assert chat.send("So?").run() == "Yes."
    assert said(chat) == ["How is it?", "", "So?", "Yes."]


def test_a_turn_that_nobody_holds_has_ended(says, begin):
    says("Hm.</think>All is well.", "</think>Yes.")
    chat = begin()
    begun(chat.send("How is it?"))
    gc.collect()
    assert chat.send("So?").run() == "Yes."
    assert said(chat) == ["How is it?", "", "So?", "Yes."]


def test_one_thing_at_a_time(says, begin, tmp_path):
    says("Hm.</think>All is well.")
    chat = begin()
    held = begun(chat.send("How is it?"))
    for ask in (
        lambda: chat.send("So?"), chat.undo, chat.clear, chat.retry, chat.compact,
        lambda: chat.save(tmp_path / "chat.session"), lambda: setattr(chat, "system", "Be brief."),
    ):  # fmt: skip
        with pytest.raises(SessionBusy):
            ask()
    assert "".join(event.text for event in held) == "All is well."
    assert said(chat) == ["How is it?", "All is well."]


def test_a_turn_that_was_made_before_another_began_is_refused(says, begin):
    says("Hm.</think>All is well.", "</think>Yes.")
    chat = begin()
    first, second = chat.send("one"), chat.send("two")
    begun(first)
    with pytest.raises(SessionBusy):
        second.run()
    assert second.done
    first.run()
    assert said(chat) == ["one", "All is well."]


def test_cancelled_while_a_tool_runs(says, begin):
    def stop() -> str:
        """Stops."""
        turn.cancel()
        return "late"

    says(f"</think>{call('stop')}{ADD}", "</think>All is well.")
    chat = begin(tools=[stop, add])
    turn = chat.send("Go")
    turn.run()
    assert turn.finish_reason == "cancelled"
    assert said(chat)[2:] == ["late", "Error: no result, the user stopped the turn"]
    assert chat.send("And now?").run() == "All is well."


def test_ctrl_c_leaves_all_consistent(says, begin):
    script = says("Hm.</think>All is <b and more", "</think>Yes.")
    script.stop_at, script.stop = "<b", lambda: signal.raise_signal(signal.SIGINT)
    chat = begin()
    with pytest.raises(KeyboardInterrupt), chat.send("How is it?") as turn:
        turn.run()
    script.stop_at = None
    assert chat.send("So?").run() == "Yes."
    assert said(chat) == ["How is it?", "All is <b", "So?", "Yes."]


def test_what_comes_to_nothing_changes_nothing(says, begin, glm_4_7):
    says("", "</think>Yes.")
    chat = begin()
    chat.attach("a.txt", "inside\n")
    with pytest.raises(glmq.ContextFull):
        chat.send("x" * glm_4_7.n_ctx).run()
    assert chat.messages == []
    chat.send("one").run()
    assert said(chat) == ["File a.txt:\n\ninside\n\none", "Yes."]
    chat.send("two").close()
    assert said(chat)[-1] == "Yes."


def test_undo_retry_edit_clear(says, begin):
    says(*[f"</think>answer {i}" for i in range(1, 6)])
    chat = begin("Be brief.")
    chat.send("one").run()
    chat.send("two").run()
    assert chat.undo() == "two"
    assert chat.retry().run() == "answer 3"
    assert chat.edit("uno").run() == "answer 4"
    assert said(chat) == ["Be brief.", "uno", "answer 4"]
    chat.clear()
    assert said(chat) == ["Be brief."]
    with pytest.raises(GlmqError, match="no message of yours"):
        chat.retry().run()


def test_a_summary_in_place_of_the_older_half(says, begin):
    says(*[f"</think>answer {i}" for i in range(1, 5)], "</think>They counted.", "</think>")
    chat = begin()
    for text in ("one" + 100 * " and one", "two", "three", "four"):
        chat.send(text).run()
    told = []
    done = chat.compact(progress=lambda n, most: told.append(n))
    assert (done.n_turns, done.summary) == (2, "They counted.")
    assert chat.n_used == done.n_after < done.n_before and told
    assert "They counted." in said(chat)[0] and said(chat)[2:] == ["three", "answer 3", "four", "answer 4"]
    before = chat.messages
    with pytest.raises(NoSummary) as raised:
        chat.compact(1)
    assert chat.messages == before and "/" not in str(raised.value)
    assert chat.compact(drop=True).summary == ""
    assert len(chat.messages) == 4


def test_options_can_be_changed_and_are_checked(says, begin):
    script = says("</think>Yes.", "No.")
    chat = begin()
    chat.send("one").run()
    chat.options = ChatOptions(thinking=False)
    chat.send("two").run()
    assert [prompt.endswith("<think>") for prompt in script.prompts] == [True, False]
    with pytest.raises(GlmqError):
        chat.options = ChatOptions(tool_choice="required")
    assert chat.options.thinking is False
    with pytest.raises(GlmqError):
        begin(options=ChatOptions(tool_choice="required"))


def test_errors_name_no_options_or_commands(begin, tmp_path):
    chat = begin()
    for ask in (chat.undo, chat.compact, chat.save, lambda: chat.load_messages(tmp_path / "none.json")):
        with pytest.raises(GlmqError) as raised:
            ask()
        assert "--" not in str(raised.value) and " /" not in str(raised.value).replace(str(tmp_path), "")


def test_attached_files(says, begin, tmp_path):
    says("</think>Yes.")
    (tmp_path / "a.txt").write_text("inside\n", encoding="utf-16")
    (tmp_path / "b.bin").write_bytes(b"\x00\xff")
    chat = begin()
    chat.attach_file(tmp_path / "a.txt")
    with pytest.raises(GlmqError, match="no text"):
        chat.attach_file(tmp_path / "b.bin")
    chat.send("What is in it?").run()
    assert said(chat)[0] == "File a.txt:\n\ninside\n\nWhat is in it?"
    assert chat.attached == []


def test_reading_tells_how_far_it_is(says, begin):
    says("</think>Yes.")
    told = []
    begin(progress=lambda *done: told.append(done)).send("Is it?").run()
    assert told and told[-1][0] == told[-1][1]


def test_closing(says, begin, glm_4_7):
    says("Hm.</think>All is well.")
    chat = begin()
    turn = chat.send("How is it?")
    begun(turn)
    assert repr(chat).endswith("turns: 1, answering>")
    chat.close()
    assert turn.done and said(chat) == ["How is it?", ""]
    with pytest.raises(GlmqError, match="is closed"):
        chat.send("So?")
    assert repr(chat).endswith("turns: 1, closed>")
    assert glm_4_7.chat([{"role": "user", "content": "?"}], max_tokens=1).run() is not None


def test_on_an_event_loop(says, begin):
    says(f"</think>{ADD}", "</think>Five.")
    threads = []
    chat = begin(tools=[add], approve=lambda call: not threads.append(threading.current_thread()))

    async def ask():
        return [type(event).__name__ async for event in chat.asend("2 + 3?")]

    assert {"ToolCallEnd", "ToolCallResult", "ContentText"} <= set(asyncio.run(ask()))
    assert threads == [threading.main_thread()]
    assert said(chat)[-1] == "Five."


def test_cancelling_the_task_cancels_the_answer(begin):
    chat = begin(options=ChatOptions(thinking=False))

    async def ask():
        begun = asyncio.Event()

        async def read():
            async for _ in chat.asend("Tell me a story."):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        chat.options = ChatOptions(thinking=False, max_tokens=3)
        return await chat.send("Shorter, please.").arun()

    asyncio.run(ask())
    assert [message["role"] for message in chat.messages] == ["user", "assistant", "user", "assistant"]
