from __future__ import annotations

import pytest

from .shown_page import PROGRAM, ShownPage


@pytest.fixture(scope="package")
def browser():
    """A headless browser; tests without one are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if PROGRAM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def new_page(browser):
    """Opens pages, each in a browser profile of its own; none may show an error of its script or policy."""
    opened = []

    def new(url, *, opens=True, **options):
        context = browser.new_context(
            **{
                "viewport": {"width": 1100, "height": 800},
                "permissions": ["clipboard-read", "clipboard-write"],
            }
            | options
        )
        context.set_default_timeout(20_000)
        shown = ShownPage(context.new_page(), url)
        opened.append((context, shown))
        if opens:
            shown.open()
        return shown

    yield new
    for context, shown in opened:
        context.close()
        assert shown.problems == []


@pytest.fixture
def page(new_page, server):
    """The page of the demo with tools."""
    return new_page(server.url)
