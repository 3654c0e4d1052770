"""What the page tells when the server refuses, is busy, or is gone."""

from __future__ import annotations

import pytest

from ..running_server import RunningServer

pytestmark = pytest.mark.slow

REFUSALS = {
    "busy": (
        429,
        {"message": "64 answers wait"},
        {"Retry-After": "2"},
        "The server is busy",
        "Try again in 2 s.",
    ),
    "full": (
        400,
        {"message": "maximum context length is 2048 tokens", "code": "context_length_exceeded"},
        None,
        "The conversation is too long for the model",
        "Edit an earlier question",
    ),
    "ending": (503, {"message": "the server is shutting down"}, None, "The server is shutting down", "again"),
    "refused": (400, {"message": "top_k must be a number"}, None, "The server refused the request", "top_k"),
    "failed": (500, {"message": "internal error"}, None, "The server failed", "internal error"),
    "gone": (0, None, None, "No connection", "Does glmq serve still run?"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_errors_are_told_and_the_question_is_tried_again(page, script, name):
    status, body, headers, title, words = REFUSALS[name]
    page.refuse(status, body, headers)
    page.begin("Hello?")
    card = page.page.locator(".error-card")
    card.get_by_text(title, exact=True).wait_for()
    assert words in card.inner_text()
    assert page.page.locator("#announcements p", has_text=title).count() == 1
    page.refuse_no_more()
    script.replies = ["</think>Here I am."]
    page.button("Try again", card).click()
    page.answer.get_by_text("Here I am.").wait_for()
    assert page.questions == ["Hello?"]
    assert page.page.locator(".notice").count() == 0, "an empty answer is no loss"


def test_a_conversation_that_is_too_long_may_be_followed_by_a_new_one(page):
    page.refuse(400, {"message": "too long", "code": "context_length_exceeded"})
    page.begin("Hello?")
    page.button("New conversation", page.page.locator(".error-card")).click()
    assert page.questions == []


def test_a_real_context_that_is_full_is_told(page, script):
    page.begin("word " * 3000)
    page.answer.get_by_text("The conversation is too long for the model").wait_for()


def test_a_real_server_that_is_busy_is_told(new_page, demo_tools, script):
    with RunningServer(demo_tools, n_parallel=1, n_queue=0) as running:
        script.replies, script.seconds = ["</think>" + "On and on. " * 300], 0.02
        first, second = new_page(running.url), new_page(running.url)
        first.begin("Go on.")
        first.answer.locator("p", has_text="On and on").wait_for()
        second.begin("Me too.")
        second.answer.get_by_text("The server is busy").wait_for()
        first.page.keyboard.press("Escape")


def test_a_server_that_ends_in_the_middle_leaves_what_it_said(new_page, demo_tools, script):
    with RunningServer(demo_tools, grace_seconds=0) as running:
        script.replies, script.seconds = ["</think>" + "On and on. " * 300], 0.02
        page = new_page(running.url)
        page.begin("Go on.")
        page.answer.locator("p", has_text="On and on").wait_for()
        running.begin_to_stop()
        page.answer.get_by_text("The server is shutting down").first.wait_for()
        assert page.text.startswith("On and on.")
    page.button("Try again").click()
    page.answer.get_by_text("The server cannot be reached").wait_for()


def test_a_stream_that_breaks_off_is_told(page):
    page.page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            status=200,
            headers={"content-type": "text/event-stream"},
            body='data: {"choices": [{"delta": {"content": "Half"}}]}\n\n',
        ),
    )
    page.begin("Hello?")
    page.answer.get_by_text("The connection was lost before the answer was complete.").wait_for()
    assert page.text == "Half"
    page.button("Continue").wait_for()


def test_a_server_that_is_not_there_yet_is_asked_again(new_page, server):
    page = new_page(server.url, opens=False)
    page.page.route("**/props", lambda route: route.abort())
    page.page.goto(page.url)
    page.page.get_by_text("The server cannot be reached").wait_for()
    page.refuse_no_more()
    page.page.locator("#reconnect").click()
    page.page.locator("#model:not(:empty)").wait_for()
    assert page.page.locator("#offline").is_hidden()


def test_progress_is_shown_while_a_long_prompt_is_read(page):
    progress = '{"choices": [], "prompt_progress": {"total": 2000, "cache": 0, "processed": 512}}'
    page.evaluate(
        """(progress) => {
          const fetched = window.fetch;
          window.fetch = (path, options) => {
            if (!path.endsWith("/completions")) return fetched(path, options);
            const start = (to) => to.enqueue(new TextEncoder().encode(`: life\\n\\ndata: ${progress}\\n\\n`));
            return Promise.resolve(new Response(new ReadableStream({ start })));
          };
        }""",
        progress,
    )
    page.begin("Read this.")
    page.answer.get_by_text("Reading the prompt: 512 of 2,000 tokens").wait_for()
    assert page.page.get_by_label("Prompt read").get_attribute("value") == "512"
