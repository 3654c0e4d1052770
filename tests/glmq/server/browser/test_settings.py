"""Settings and the key."""

from __future__ import annotations

import pytest

from glmq.sampling.recommendations import recommended

from ..running_server import RunningServer

pytestmark = pytest.mark.slow


def set_fields(page, **fields):
    page.button("Settings").click()
    for label, value in fields.items():
        page.page.get_by_label(label.replace("_", " "), exact=True).fill(value)
    page.button("Save").click()


def test_a_request_holds_only_what_was_set(page, script):
    script.replies = ["</think>Yes."]
    page.ask("Hello?")
    [body] = page.requests
    assert set(body) == {"model", "messages", "stream", "stream_options", "return_progress"}


def test_all_settings_are_sent(page, script):
    page.button("Settings").click()
    page.page.get_by_label("Off", exact=True).check()
    page.button("Save").click()
    set_fields(
        page,
        **{
            "System message": "Be brief.",
            "Temperature": "0.5",
            "Top-p": "0.9",
            "Top-k": "20",
            "Min-p": "0.05",
        },
        **{"Repeat penalty": "1.1", "Max tokens": "77", "Seed": "0", "Thinking budget": "10"},
        **{"Stop texts, one a line": "END\nSTOP", "Tools, as JSON": '{"name": "f", "parameters": {}}'},
    )
    script.replies = ["Yes."]
    page.ask("Hello?")
    [body] = page.requests
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["thinking"] == {"type": "disabled"}
    assert {name: body[name] for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
    }
    assert (body["max_tokens"], body["seed"], body["thinking_budget_tokens"]) == (77, 0, 10)
    assert body["stop"] == ["END", "STOP"]
    assert body["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert page.text == "Yes."


def test_settings_stay_and_new_conversations_begin_with_them(page, script):
    set_fields(page, Temperature="0.5")
    script.replies = ["</think>Yes.", "</think>Yes."]
    page.ask("Hello?")
    page.reload()
    page.button("New conversation").click()
    page.ask("Hello again?")
    assert [body["temperature"] for body in page.requests] == [0.5, 0.5]


def test_settings_that_are_not_saved_change_nothing(page, script):
    page.button("Settings").click()
    page.page.get_by_label("Temperature").fill("1.5")
    page.page.get_by_label("Dark", exact=True).check()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.button("Cancel").click()
    page.wait_until("document.documentElement.dataset.theme === undefined")
    script.replies = ["</think>Yes."]
    page.ask("Hello?")
    assert "temperature" not in page.requests[0]


def test_empty_fields_show_what_the_model_recommends(page, demo_tools):
    page.button("Settings").click()
    suits = recommended(demo_tools.file.metadata)
    assert float(page.page.get_by_label("Temperature").get_attribute("placeholder")) == suits.temperature
    assert float(page.page.get_by_label("Top-p").get_attribute("placeholder")) == suits.top_p


def test_tools_that_are_no_tools_are_refused_while_they_are_typed(page):
    page.button("Settings").click()
    for text, told in (("[{", "not valid JSON"), ("[{}]", "Tool 1 has no name.")):
        page.page.get_by_label("Tools, as JSON").fill(text)
        page.page.get_by_text(told).wait_for()
    page.button("Save").click()
    assert page.page.locator("#settings").is_visible()
    page.button("Insert an example").click()
    page.button("Save").click()
    page.page.locator("#settings").wait_for(state="hidden")


def test_thinking_is_switched_beside_the_question(page, script):
    page.button("Thinking").click()
    script.replies = ["No thoughts.", "Thoughts.</think>Yes."]
    page.ask("Hello?")
    assert page.requests[0]["thinking"] == {"type": "disabled"}
    page.button("Thinking").click()
    page.ask("Hello?")
    assert "thinking" not in page.requests[1]


@pytest.fixture(scope="module")
def locked(demo_tools):
    with RunningServer(demo_tools, api_key="a secret") as running:
        yield running


def test_the_key_is_asked_for_and_kept(new_page, locked, script):
    page = new_page(locked.url, opens=False)
    page.page.goto(page.url)
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("API key").fill("a wrong one")
    dialog.get_by_label("API key").press("Enter")
    dialog.get_by_label("API key").fill("a secret")
    dialog.get_by_label("API key").press("Enter")
    page.page.locator("#model:not(:empty)").wait_for()
    script.replies = ["</think>Welcome."]
    page.ask("Hello?")
    assert page.text == "Welcome."
    page.reload()


def test_without_a_key_questions_are_kept_and_answered_when_it_is_given(new_page, locked, script):
    page = new_page(locked.url, opens=False)
    page.page.goto(page.url)
    page.button("Cancel").click()
    page.page.locator("#offline").wait_for()
    page.begin("Hello?")
    page.answer.get_by_text("The server wants an API key").wait_for()
    page.button("Enter the key").click()
    page.page.get_by_role("dialog").get_by_label("API key").fill("a secret")
    script.replies = ["</think>Welcome."]
    page.button("Enter").click()
    page.answer.get_by_text("Welcome.").wait_for()
