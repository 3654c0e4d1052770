"""Make page.png: a conversation on the page of `glmq serve`. Needs Chromium and playwright.

python docs/make_page_picture.py

The words are those of `REPLIES`, all else is as it is.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in (".", "kernels", "convert")]

import glmq  # noqa: E402
from glmq.model import Model  # noqa: E402
from tests.glmq.scripted_chat import Script  # noqa: E402
from tests.glmq.server.browser.shown_page import PROGRAM, ShownPage  # noqa: E402
from tests.glmq.server.running_server import RunningServer  # noqa: E402
from tests.glmq.small_models import write_glm4moe  # noqa: E402

SIZE = {"width": 1040, "height": 760}
NAME = "scripted GLM-4.7"
QUESTIONS = (
    "Which of my files changed last week?",
    "What does a lighthouse keeper do all day?",
    "How do I sort a list of words by length in Python?",
)
REPLIES = (
    "I cannot see files.</think>I cannot see your files; tell me what `ls -l` shows.",
    "A list will do.</think>1. Trim the lamps\n2. Wind the clockwork\n3. Write the log",
    "They want to sort by length. `sorted` with `key=len` does it, and it keeps the order of words that are"
    " equally long, which is worth a remark.</think>Give `sorted` the function `len` as its **key**:\n\n"
    "```python\nwords = ['lamp', 'sea', 'keeper', 'fog']\nprint(sorted(words, key=len))\n```\n\n"
    "| call | gives |\n|:--|:--|\n| `sorted(words, key=len)` | `sea`, `fog`, `lamp`, `keeper` |\n"
    "| `sorted(words, key=len, reverse=True)` | `keeper`, `lamp`, `sea`, `fog` |\n\n"
    "Words of the same length *keep their order*.",
)


def main() -> None:
    """Talk, then take the picture."""
    script = Script(REPLIES)
    Model.generate = lambda model, prompt, **more: script.generate(model, prompt, **more)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_glm4moe(Path(folder) / "scripted.gguf", "Q8_0", name=NAME, n_ctx=8192)
        with glmq.load(path) as model, RunningServer(model, model_name=NAME) as server:
            browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
            shown = ShownPage(browser.new_page(viewport=SIZE), server.url)
            shown.open()
            for question in QUESTIONS:
                shown.button("New conversation").click()
                shown.ask(question)
            shown.answer.locator(".thinking summary").click()
            shown.page.wait_for_timeout(500)
            shown.page.screenshot(path=Path(__file__).with_name("page.png"))
            browser.close()


if __name__ == "__main__":
    main()
