"""Conversations that the browser keeps: reload, search, deletion, files, and a full browser."""

from __future__ import annotations

import json

import pytest

from glmq.chat.conversation_files import load_conversation

from .shown_page import ShownPage

pytestmark = pytest.mark.slow

CALL = "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"


@pytest.fixture
def two(page, script):
    """A page with two conversations, the second one shown."""
    script.replies = ["I think.</think>An answer about **cats**.", "</think>An answer about dogs."]
    page.ask("Tell me about cats.")
    page.button("New conversation").click()
    page.ask("Tell me about dogs.")
    return page


def test_conversations_and_the_one_that_is_shown_survive_a_reload(two):
    two.reload()
    assert two.titles == ["Tell me about dogs.", "Tell me about cats."]
    assert two.text == "An answer about dogs."
    two.button("Tell me about cats.").click()
    assert two.questions == ["Tell me about cats."]
    assert two.answer.locator("strong").inner_text() == "cats"
    assert two.answer.locator("summary").first.inner_text() == "Thought for a moment"


def test_an_answer_that_a_reload_interrupts_is_kept_as_far_as_it_came(page, script):
    script.replies, script.seconds = ["</think>" + "On and on. " * 300], 0.02
    page.begin("Go on.")
    page.wait_until("document.querySelector('.answer')?.innerText.includes('On and on. On and on.')")
    page.reload()
    page.answer.get_by_text("interrupted when the page was closed").wait_for()
    page.button("Continue").wait_for()


def test_an_answer_goes_on_while_another_conversation_is_shown(page, script):
    script.replies, script.seconds = ["</think>" + "Slowly. " * 60 + "END"], 0.01
    page.begin("Be slow.")
    page.answer.locator("p", has_text="Slowly").wait_for()
    page.button("New conversation").click()
    assert page.questions == []
    page.page.get_by_label("is being answered").wait_for(state="detached")
    page.button("Be slow.").click()
    assert page.text.endswith("END")


def test_the_list_is_searched_in_all_that_was_said(two):
    two.page.get_by_label("Search conversations").fill("ABOUT CATS")
    assert two.titles == ["Tell me about cats."]
    two.page.get_by_label("Search conversations").fill("whales")
    two.page.get_by_text("No conversation holds these words.").wait_for()


def test_a_conversation_is_renamed(two):
    two.menu("Rename")
    two.page.get_by_label("Name of the conversation").fill("Dogs, mostly")
    two.page.get_by_label("Name of the conversation").press("Enter")
    two.reload()
    assert two.titles[0] == two.page.locator("#title").inner_text() == "Dogs, mostly"


def test_a_deleted_conversation_comes_back(two):
    two.menu("Delete")
    assert two.titles == ["Tell me about cats."] and two.questions == []
    two.button("Undo", two.notice("The conversation was deleted.")).click()
    assert two.questions == ["Tell me about dogs."]
    two.menu("Delete")
    two.reload()
    assert two.titles == ["Tell me about cats."]


def test_what_is_being_written_stays_with_its_conversation(two):
    two.page.locator("#question").fill("half a question")
    two.button("Tell me about cats.").click()
    assert two.page.locator("#question").input_value() == ""
    two.button("Tell me about dogs.").click()
    assert two.page.locator("#question").input_value() == "half a question"


def exported(page, entry, path):
    with page.page.expect_download() as download:
        page.menu(entry)
    download.value.save_as(path)
    return path


def lines_of(page):
    """What the conversation shows, without figures of how answers went, which files do not hold."""
    lines = page.page.locator("#messages").inner_text().split("\n")
    return [line for line in lines if line and "Thought" not in line and "tokens" not in line]


def tool_talk(page, script):
    """A conversation with a system message, thinking, a call, its result, and a heading in the answer."""
    page.button("Settings").click()
    page.page.get_by_label("System message").fill("Be brief.")
    page.page.get_by_label("Tools, as JSON").fill('[{"name": "get_weather"}]')
    page.button("Save").click()
    script.replies = ["I look.</think>" + CALL, "</think>## User\n\nIt is **sunny**."]
    page.ask("Oslo?")
    page.page.get_by_label("Result of get_weather").fill("sunny")
    page.button("Send result").click()
    page.answer.get_by_text("It is sunny").wait_for()
    page.wait_until_answered()


@pytest.mark.parametrize(("entry", "name"), (("Export as JSON", "a.json"), ("Export as Markdown", "a.md")))
def test_an_exported_conversation_is_imported_as_it_was(page, script, tmp_path, entry, name):
    tool_talk(page, script)
    shown = lines_of(page)
    path = exported(page, entry, tmp_path / name)
    page.menu("Delete")
    page.page.locator("#import-files").set_input_files(path)
    page.notice("Imported a conversation from")
    assert lines_of(page) == shown
    script.replies = ["</think>Yes."]
    page.ask("Sure?")
    roles = [message["role"] for message in page.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert page.requests[-1]["messages"][0]["content"] == "Be brief."


def test_the_terminal_loads_what_the_page_exports(page, script, tmp_path):
    tool_talk(page, script)
    loaded = load_conversation(exported(page, "Export as JSON", tmp_path / "a.json"))
    assert loaded.system == "Be brief." and loaded.n_turns == 1
    assert loaded.messages[2]["reasoning_content"] == "I look."
    assert loaded.messages[3]["content"] == "sunny"


def test_all_conversations_are_exported_and_imported_at_once(two, tmp_path, new_page):
    two.button("Settings").click()
    with two.page.expect_download() as download:
        two.button("Export all").click()
    download.value.save_as(tmp_path / "all.json")
    other = new_page(two.url)
    other.page.locator("#import-files").set_input_files(tmp_path / "all.json")
    other.notice("Imported 2 conversations from all.json.")
    assert sorted(other.titles) == ["Tell me about cats.", "Tell me about dogs."]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    (
        ("a.json", "{", "a.json is not JSON"),
        ("a.json", "[1, 2]", "a.json holds no conversation"),
        ("a.json", json.dumps({"messages": [{"role": "wizard"}]}), "a.json holds no conversation"),
        ("a.json", "null", "a.json holds no conversation"),
        ("a.md", "Just a text.", "The file holds no conversation"),
    ),
)
def test_files_that_hold_no_conversation_are_refused_in_words(page, tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    page.page.locator("#import-files").set_input_files(tmp_path / name)
    page.notice(told)
    assert page.titles == []


@pytest.mark.parametrize(
    ("name", "told"),
    (("QuotaExceededError", "no more room for conversations"), ("DataError", "cannot write to its database")),
)
def test_a_browser_that_keeps_nothing_more_says_so_and_the_chat_goes_on(page, script, name, told):
    page.evaluate(
        "name => { IDBObjectStore.prototype.put = () => { throw new DOMException('no', name); }; }", name
    )
    script.replies = ["</think>Still here."]
    page.ask("Are you there?")
    page.notice(told)
    assert page.text == "Still here."


def test_a_browser_without_a_database_says_so(new_page, server, script):
    page = new_page(server.url, opens=False)
    page.page.add_init_script("IDBFactory.prototype.open = () => { throw new DOMException('not here'); };")
    page.open()
    page.notice("conversations are lost when the page is closed")
    script.replies = ["</think>Still here."]
    page.ask("Are you there?")
    assert page.text == "Still here."


def test_another_tab_sees_what_has_been_said(two):
    tab = two.page.context.new_page()
    tab.goto(two.url)
    tab.get_by_role("button", name="Tell me about cats.", exact=True).wait_for()
    two.menu("Delete")
    tab.get_by_role("button", name="Tell me about dogs.", exact=True).wait_for(state="detached")


def test_two_tabs_that_ask_in_one_conversation_lose_no_answer(page, script):
    script.replies = ["</think>First.", *("</think>" + "On and on. " * 40 + end for end in ("ONE", "TWO"))]
    page.ask("Begin.")
    tab = ShownPage(page.page.context.new_page(), page.url)
    tab.open()
    tab.button("Begin.").click()
    script.seconds = 0.01
    page.begin("One?")
    tab.page.locator(".bubble", has_text="One?").wait_for()
    tab.begin("Two?")
    page.wait_until_answered()
    tab.wait_until_answered()
    for each in (page, tab):
        each.page.locator(".answer", has_text="ONE").wait_for()
        each.page.locator(".answer", has_text="TWO").wait_for()
        each.reload()
        assert each.questions == ["Begin.", "One?", "Two?"]
        shown = each.page.locator(".answer").all_inner_texts()
        assert ["ONE" in shown[1], "TWO" in shown[2]] == [True, True]
