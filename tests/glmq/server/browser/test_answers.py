"""Questions and answers on the page: streaming, thinking, stopping, editing, retrying, tools."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow

THOUGHTFUL = "First I think.</think>Then I **answer**."
CALL = "</think><tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"
TOOLS = (
    '[{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]'
)


def test_a_question_is_answered_in_markdown(page, script):
    script.replies = ["</think># A title\n\nSome **bold** words."]
    page.ask("Say something.")
    assert page.questions == ["Say something."]
    assert page.answer.locator("h1").inner_text() == "A title"
    assert page.answer.locator("strong").inner_text() == "bold"
    assert page.page.locator("#question").input_value() == ""
    assert "<|user|>Say something.<|assistant|>" in script.prompts[0]


def test_an_answer_appears_while_it_is_written(page, script):
    script.replies, script.seconds = ["</think>" + "One word after another. " * 50], 0.02
    page.begin("Say something long.")
    page.answer.locator("p", has_text="One word").wait_for()
    assert page.page.locator("#stop").is_visible()
    assert page.answer.get_attribute("aria-busy") == "true"
    page.page.keyboard.press("Escape")


def test_figures_and_the_use_of_the_context_are_told(page, script, demo_tools):
    script.replies = ["</think>One two three."]
    page.ask("Count.")
    page.answer.locator(".figures summary").click()
    figures = page.answer.locator(".figures li").all_inner_texts()
    assert figures[0].startswith("Prompt: ") and figures[1].startswith("Answer: ")
    assert f"of {demo_tools.n_ctx:,} tokens" in figures[2]
    assert f"of {demo_tools.n_ctx:,} tokens" in page.page.locator("#context").inner_text()


def test_thinking_is_folded_and_tells_its_time(page, script):
    script.replies = [THOUGHTFUL]
    page.ask("Think.")
    thinking = page.answer.locator("details.thinking")
    assert thinking.get_attribute("open") is None
    assert thinking.locator("summary").inner_text() == "Thought for a moment"
    thinking.locator("summary").click()
    assert thinking.locator(".thoughts").inner_text() == "First I think."
    assert page.text == "Then I answer."


def test_thinking_is_shown_while_it_is_written_where_the_user_wants_that(page, script):
    page.button("Settings").click()
    page.page.get_by_label("Show thinking while it is written").check()
    page.button("Save").click()
    script.replies, script.seconds = (
        ["I think and think, word by word, and so on." * 3 + "</think>Yes."],
        0.02,
    )
    page.begin("Think.")
    page.answer.locator("details.thinking[open].live").wait_for()
    page.wait_until_answered()
    assert page.answer.locator("details.thinking").get_attribute("open") is None


def test_escape_stops_an_answer_and_what_has_come_is_kept(page, script, server):
    script.replies, script.seconds = ["</think>" + "On and on. " * 200], 0.02
    page.begin("Go on.")
    page.answer.locator("p", has_text="On and on").wait_for()
    page.page.keyboard.press("Escape")
    page.answer.get_by_text("You stopped this answer.").wait_for()
    assert page.text.startswith("On and on.")
    assert page.evaluate("document.activeElement.id") == "question"


def test_a_stopped_answer_goes_on_where_it_was(page, script):
    script.replies, script.seconds = ["</think>" + "On and on. " * 200], 0.02
    page.begin("Go on.")
    page.answer.locator("p", has_text="On and on").wait_for()
    page.button("Stop the answer").click()
    begun = page.evaluate("document.querySelector('.answer .markdown:not(.thoughts)').textContent")
    script.replies, script.seconds = [" AND THE END."], 0
    page.button("Continue").click()
    page.wait_until_answered()
    assert page.text.startswith(begun.strip()) and page.text.endswith("AND THE END.")
    assert page.requests[-1]["continue_final_message"] is True
    assert len(page.page.locator(".answer").all()) == 1


def test_an_edited_question_cuts_what_follows_and_that_is_told_and_undone(page, script):
    script.replies = ["</think>First.", "</think>Second.", "</think>Third."]
    page.ask("One?")
    page.ask("Two?")
    question = page.page.locator(".question").first
    question.hover()
    page.button("Edit", question).click()
    assert "replaces the 3 messages after it" in question.inner_text()
    question.get_by_label("Edit your question").fill("One, but otherwise?")
    question.get_by_label("Edit your question").press("Enter")
    page.answer.get_by_text("Third.").wait_for()
    assert page.questions == ["One, but otherwise?"]
    page.button("Undo", page.notice("with all that followed (4 messages)")).click()
    page.answer.get_by_text("Second.").wait_for()
    assert page.questions == ["One?", "Two?"]


def test_editing_may_be_given_up(page, script):
    script.replies = ["</think>First."]
    page.ask("One?")
    page.page.locator("#question").press("ArrowUp")
    area = page.page.get_by_label("Edit your question")
    area.fill("changed")
    area.press("Escape")
    assert page.questions == ["One?"] and page.text == "First."


def test_an_answer_is_tried_again_and_the_earlier_one_comes_back(page, script):
    script.replies = ["</think>First.", "</think>Second."]
    page.ask("One?")
    page.button("Retry", page.answer).click()
    page.answer.get_by_text("Second.").wait_for()
    assert [message["role"] for message in page.requests[-1]["messages"]] == ["user"]
    page.button("Undo", page.notice("The earlier answer was replaced")).click()
    page.answer.get_by_text("First.").wait_for()


def test_answers_and_code_are_copied_as_they_were_written(page, script):
    script.replies = ["</think>**Bold**\n\n```py\nx = 1\ny = 2\n```"]
    page.ask("Code?")
    page.button("Copy code").click()
    page.button("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "x = 1\ny = 2"
    page.button("Copy answer").click()
    page.wait_until("navigator.clipboard.readText().then(text => text.startsWith('**Bold**'))")


def test_tool_calls_are_shown_and_answered_by_hand(page, script):
    page.button("Settings").click()
    page.page.get_by_label("Tools, as JSON").fill(TOOLS)
    page.button("Save").click()
    script.replies = ["I look it up." + CALL, "</think>It is sunny in Oslo."]
    page.ask("How is the weather in Oslo?")
    call = page.page.get_by_role("region", name="Tool call get_weather")
    assert json.loads(call.locator(".call-arguments").inner_text()) == {"city": "Oslo"}
    call.get_by_label("Result of get_weather").fill("sunny, 21 degrees")
    page.button("Send result").click()
    page.answer.get_by_text("It is sunny in Oslo.").wait_for()
    assert "sunny, 21 degrees" in call.inner_text()
    _, called, result = page.requests[-1]["messages"]
    assert called["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    assert called["reasoning_content"] == "I look it up."
    assert result == {
        "role": "tool",
        "tool_call_id": called["tool_calls"][0]["id"],
        "name": "get_weather",
        "content": "sunny, 21 degrees",
    }


def test_thinking_of_earlier_turns_is_not_sent_again(page, script):
    script.replies = [THOUGHTFUL, "</think>Yes."]
    page.ask("Think.")
    page.ask("And now?")
    assert page.requests[-1]["messages"][1] == {"role": "assistant", "content": "Then I **answer**."}


@pytest.mark.parametrize(("text", "direction"), (("שלום עולם", "rtl"), ("Hello", "ltr")))
def test_text_runs_in_the_direction_of_its_language(page, script, text, direction):
    script.replies = [f"</think>{text}"]
    page.ask(text)
    for place in (page.page.locator(".bubble"), page.answer.locator("p").first):
        assert place.evaluate("element => getComputedStyle(element).direction") == direction


def test_blocks_that_are_over_are_read_out_once_and_never_touched_again(page, script):
    paragraphs = [f"Paragraph {i} has some words." for i in range(30)]
    script.replies, script.seconds = ["</think>" + "\n\n".join(paragraphs)], 0.003
    page.begin("Write.")
    page.answer.locator("p").nth(1).wait_for()
    page.evaluate(
        """() => {
          window.touched = 0;
          const first = document.querySelector(".answer .markdown:not(.thoughts) p");
          const watch = { childList: true, characterData: true, subtree: true, attributes: true };
          new MutationObserver((records) => (window.touched += records.length)).observe(first, watch);
          window.first = first;
        }"""
    )
    page.wait_until_answered()
    assert page.evaluate("window.touched === 0 && window.first.isConnected")
    read = page.page.locator("#announcements p").all_inner_texts()
    assert [line for line in read if line.startswith("Paragraph")] == paragraphs[-len(read) + 1 :]
    assert read[-1] == "The answer is complete."


def test_the_page_follows_an_answer_but_not_against_the_users_scrolling(page, script):
    script.replies, script.seconds = ["</think>" + "A line of text.\n\n" * 120], 0.004
    page.begin("Write.")
    thread = page.page.locator("#thread")
    page.wait_until("document.querySelector('#thread').scrollTop > 100")
    thread.hover()
    page.page.mouse.wheel(0, -5000)
    page.button("To the end of the conversation").wait_for()
    top = thread.evaluate("element => element.scrollTop")
    page.wait_until_answered()
    assert thread.evaluate("element => element.scrollTop") == top
    page.button("To the end of the conversation").click()
    assert thread.evaluate("element => element.scrollHeight - element.clientHeight - element.scrollTop") < 2
