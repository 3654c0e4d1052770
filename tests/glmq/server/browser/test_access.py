"""The page for everybody: with the keyboard alone, on a phone, in the dark, read out, without motion."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

WIDE = (
    "</think># A title\n\n| one | two | three | four | five |\n|---|---|---|---|---|\n"
    "| some words | some words | some words | some words | some words |\n\n"
    "```py\nx = 'a long line of code that is wider than any telephone that one could hold in a hand'\n```\n\n"
    f"A {'verylongword' * 20} and `{'code' * 40}` and https://example.com/{'path/' * 30}\n\n"
    "> A quote.\n\n---\n\n- [ ] one\n- [x] two\n"
)

WIDTH = """() => Array.from(document.querySelectorAll("body *"))
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => !element.closest(".visually-hidden, .skip, pre, .table-frame > *"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))"""

CONTRAST = """() => {
  const channels = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map((value) => value * scale), numbers[3] ?? 1];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
  const background = (element) => {
    if (!element) return [255, 255, 255];
    return over(channels(getComputedStyle(element).backgroundColor), background(element.parentElement));
  };
  const luminance = (rgb) => {
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
    const isIcon = element.localName === "svg" && element.closest("button");
    const isShown = element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (!(words || isIcon) || !isShown) continue;
    if (element.closest(":disabled, script, style")) continue;
    const back = background(element);
    const front = over(channels(getComputedStyle(element).color), back);
    const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < (isIcon ? 3 : 4.5)) low.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 100)}`);
  }
  return low;
}"""

CONTROLS = "button, input, textarea, select, dialog, summary, a, [role]:not([role=status])"
NAMELESS = """(controls) => Array.from(document.querySelectorAll(controls))
  .filter((element) => element.checkVisibility() && element.type !== "file")
  .filter((element) => {
    const labelled = element.getAttribute("aria-labelledby");
    const name = element.getAttribute("aria-label")
      ?? (labelled && document.getElementById(labelled)?.textContent)
      ?? Array.from(element.labels ?? [], (label) => label.textContent).join("");
    return !(name || element.textContent).trim();
  })
  .map((element) => element.outerHTML.slice(0, 120))"""

STATES = ("welcome", "answer", "error", "settings", "shortcuts", "menu", "notice")


def bring(page, script, state):
    """Bring the page into a state."""
    if state == "welcome":
        return
    script.replies = [f"Some thoughts.{WIDE}"]
    page.ask("A question, and a long one, so that its bubble is as wide as it can be.")
    page.page.locator(".thinking summary").click()
    if state == "error":
        page.refuse(429)
        page.begin("Again?")
        page.page.locator(".error-card").wait_for()
    elif state == "settings":
        page.page.keyboard.press("Control+,")
    elif state == "shortcuts":
        page.page.keyboard.press("Control+/")
    elif state == "menu":
        page.page.locator("#menu-button").click()
    elif state == "notice":
        page.button("Retry").click()
        page.notice("replaced")


@pytest.mark.parametrize("state", STATES)
def test_nothing_is_wider_than_a_small_phone(new_page, server, script, state):
    page = new_page(server.url, viewport={"width": 360, "height": 640})
    bring(page, script, state)
    assert page.evaluate(WIDTH) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.querySelector('#thread').scrollWidth <= 360")


def test_what_greets_on_a_small_phone_is_shown_from_its_top(new_page, server):
    page = new_page(server.url, viewport={"width": 360, "height": 480})
    assert page.evaluate("document.querySelector('#thread').scrollTop") == 0


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("state", STATES)
def test_all_text_stands_out_and_all_controls_have_names(new_page, server, script, state, scheme):
    page = new_page(server.url, color_scheme=scheme, reduced_motion="reduce")
    bring(page, script, state)
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS, CONTROLS) == []


def test_ids_are_given_once_and_references_lead_somewhere(page):
    assert page.evaluate(
        """() => {
          const ids = Array.from(document.querySelectorAll("[id]"), (element) => element.id);
          const names = ["aria-labelledby", "aria-describedby", "aria-controls", "popovertarget", "for"];
          const all = Array.from(document.querySelectorAll("*"));
          const named = (name) => all.flatMap((one) => one.getAttribute(name)?.split(" ") ?? []);
          const wanted = names.flatMap(named);
          return [ids.length - new Set(ids).size, wanted.filter((id) => !ids.includes(id))];
        }"""
    ) == [0, []]


def test_the_colours_follow_the_system_and_the_switch(new_page, server):
    page = new_page(server.url, color_scheme="dark")

    def is_dark():
        return page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"

    assert is_dark()
    page.button("Colours: as the system").click()
    assert not is_dark()
    page.reload()
    assert not is_dark()
    page.button("Colours: light").click()
    page.page.emulate_media(color_scheme="light")
    assert is_dark()
    page.button("Colours: dark").click()
    assert not is_dark()


def focused(page):
    return page.evaluate(
        "(element => element.id || element.getAttribute('aria-label') || element.textContent)"
        "(document.activeElement)"
    )


def test_all_is_reached_with_the_keyboard_alone_in_the_order_of_the_page(page, script):
    keys = page.page.keyboard
    script.replies = ["</think>First.", "</think>Second."]
    assert focused(page) == "question"
    keys.type("One?")
    keys.press("Shift+Enter")
    keys.type("And two?")
    keys.press("Enter")
    page.answer.get_by_text("First.").wait_for()
    page.wait_until_answered()
    assert page.questions == ["One?\nAnd two?"]
    page.page.locator(".skip").focus()
    order = [focused(page)]
    while "question" not in order:
        keys.press("Tab")
        order.append(focused(page))
        assert len(order) < 30
    assert order[:5] == ["Skip to the question box", "new", "search", "One?", "Delete “One?”"]
    assert order[5:10] == ["open-settings", "theme", "open-shortcuts", "menu-button", "thread"]
    assert order[10:14] == ["Edit", "Copy question", "Copy answer", "Retry"]
    page.page.locator("[aria-label=Retry]").focus()
    keys.press("Enter")
    page.answer.get_by_text("Second.").wait_for()


def test_shortcuts(page, script):
    keys = page.page.keyboard
    keys.press("Control+k")
    assert focused(page) == "search"
    page.page.locator("#thread").focus()
    keys.press("/")
    assert focused(page) == "question"
    assert page.page.locator("#question").input_value() == ""
    keys.press("Control+/")
    page.page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    keys.press("Escape")
    keys.press("Control+,")
    page.page.get_by_role("dialog", name="Settings").wait_for()
    keys.press("Escape")
    script.replies = ["</think>Yes."]
    page.ask("Hello?")
    keys.press("ArrowUp")
    assert focused(page) == "Edit your question"
    keys.press("Escape")
    keys.press("Control+Shift+O")
    assert page.questions == [] and focused(page) == "question"


def test_a_link_leads_past_the_list_to_the_question(page):
    page.page.locator(".skip").focus()
    page.page.keyboard.press("Enter")
    page.wait_until("document.activeElement.id === 'question'")


def test_a_key_that_ends_the_input_of_a_character_sends_nothing(page):
    page.page.locator("#question").fill("にほん")
    page.evaluate(
        "document.querySelector('#question').dispatchEvent("
        " new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true }))"
    )
    assert page.questions == []


def test_on_a_phone_the_list_is_a_drawer(new_page, server, script):
    page = new_page(server.url, viewport={"width": 360, "height": 640})
    script.replies = ["</think>Yes."]
    page.ask("Hello?")
    sidebar = page.page.locator("#sidebar")
    assert sidebar.is_hidden()
    page.button("Open the list of conversations").click()
    page.button("Hello?", sidebar).wait_for()
    assert focused(page) == "new"
    page.page.keyboard.press("Escape")
    sidebar.wait_for(state="hidden")
    assert focused(page) == "open-sidebar"
    page.button("Open the list of conversations").click()
    page.button("New conversation", sidebar).click()
    sidebar.wait_for(state="hidden")
    assert page.questions == []


def test_nothing_moves_where_motion_is_not_wanted(new_page, server, script):
    page = new_page(server.url, reduced_motion="reduce")
    script.replies, script.seconds = ["</think>" + "On and on. " * 100], 0.02
    page.begin("Go on.")
    page.answer.locator("p", has_text="On and on").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0
    page.page.keyboard.press("Escape")


def test_progress_and_ends_are_read_out(page, script):
    script.replies, script.seconds = ["</think>" + "On and on. " * 100], 0.02
    page.begin("Go on.")
    page.answer.locator("p", has_text="On and on").wait_for()
    page.page.keyboard.press("Escape")
    page.page.locator("#announcements p", has_text="You stopped this answer.").wait_for(state="attached")
