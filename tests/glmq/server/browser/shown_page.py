"""The page in a browser, as tests use it."""

from __future__ import annotations

import json
import shutil

from ..running_server import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
"""A browser of this machine, None where there is none."""


class ShownPage:
    """A page, its parts by name, and what went wrong in it.

    requests: the bodies of those that asked for an answer.
    """

    def __init__(self, page, url):
        self.page, self.url = page, url
        self.problems, self.requests = [], []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)

    def open(self):
        """Load the page, and wait until it knows the model."""
        self.page.goto(self.url)
        self.page.locator("#model:not(:empty)").wait_for()

    def reload(self):
        self.page.reload()
        self.page.locator("#model:not(:empty)").wait_for()

    def ask(self, text):
        """Send a question and wait until its answer is over."""
        self.begin(text)
        self.wait_until_answered()

    def begin(self, text):
        self.page.locator("#question").fill(text)
        self.page.locator("#question").press("Enter")

    def wait_until_answered(self):
        self.page.locator("#stop").wait_for(state="hidden")
        self.page.locator(".answer.running").wait_for(state="detached")

    @property
    def answer(self):
        """The last answer."""
        return self.page.locator(".answer").last

    @property
    def text(self):
        """The last answer's text."""
        return self.answer.locator(".markdown:not(.thoughts)").inner_text()

    @property
    def questions(self):
        return self.page.locator(".bubble").all_inner_texts()

    @property
    def titles(self):
        """What the list of conversations shows."""
        return self.page.locator("#conversations .select").all_inner_texts()

    def evaluate(self, expression, argument=None):
        return self.page.evaluate(expression, argument)

    def wait_until(self, expression):
        """Wait until an expression of JavaScript holds; playwright's way needs what the policy forbids."""
        wait_until(lambda: self.page.evaluate(expression))

    def button(self, name, within=None):
        return (within or self.page).get_by_role("button", name=name, exact=True)

    def notice(self, text):
        """A notice that holds a text, when it is there."""
        notice = self.page.locator(".notice", has_text=text)
        notice.wait_for()
        return notice

    def refuse(self, status, body=None, headers=None):
        """Have every question refused; with status 0 as if there were no network."""
        path = "**/v1/chat/completions"
        if status == 0:
            self.page.route(path, lambda route: route.abort())
        else:
            body = json.dumps({"error": body or {"message": "refused"}})
            self.page.route(path, lambda route: route.fulfill(status=status, body=body, headers=headers))

    def refuse_no_more(self):
        self.page.unroute_all()

    def menu(self, entry):
        self.page.locator("#menu-button").click()
        self.page.locator(f"#menu >> text={entry}").click()

    def _console(self, message):
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.problems.append(message.text)

    def _request(self, request):
        if request.url.endswith("/v1/chat/completions"):
            self.requests.append(request.post_data_json)
