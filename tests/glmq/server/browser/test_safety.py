"""What a model writes stays text: no script runs, nothing is fetched, links lead to the web or mail."""

from __future__ import annotations

import pytest

ATTACKS = (
    "<script>window.harmed = 1</script>",
    "<img src=x onerror='window.harmed = 1'>",
    "<svg onload='window.harmed = 1'><iframe srcdoc='<script>parent.harmed = 1</script>'></iframe>",
    "[click](javascript:window.harmed=1) [click](  JaVaScRiPt:harmed=1) [click](java\tscript:harmed=1)",
    "[click](data:text/html,<script>harmed=1</script>) [click](vbscript:x) [click](//evil.example) [click](file:///)",
    "<javascript:harmed=1> <data:text/html,x> [click](<javascript:harmed=1>) ![p](javascript:harmed=1)",
    '[click](https://a.example/" onmouseover="harmed=1) [x](https://a.example "t" onclick="harmed=1")',
    "![picture](https://evil.example/steal.png) <link rel=stylesheet href=https://evil.example/a.css>",
    "```html onload=harmed=1\n</code></pre><script>harmed=1</script>\n```",
    "| <b onclick=harmed=1>a</b> |\n|---|\n| <script>harmed=1</script> |",
    "> # <style>*{display:none}</style>\n- <a href='javascript:harmed=1'>x</a>",
    "&lt;script&gt;harmed=1&lt;/script&gt; &#106;avascript:harmed=1 [x](&#106;avascript:harmed=1)",
)


@pytest.fixture
def attacked(page, script):
    """A page whose model writes attacks, in its thinking, its text, its call, and with a title of them."""
    fetched = []
    page.page.on("request", lambda request: fetched.append(request.url))
    text = "\n\n".join(ATTACKS)
    call = f"<tool_call>run<arg_key>x</arg_key><arg_value>{ATTACKS[1]}</arg_value></tool_call>"
    script.replies = [f"{ATTACKS[0]}\n\n{ATTACKS[3]}</think>{text}{call}"]
    page.button("Settings").click()
    page.page.get_by_label("Tools, as JSON").fill('[{"name": "run", "parameters": {}}]')
    page.button("Save").click()
    page.ask(ATTACKS[1])
    page.reload()
    return page, fetched


def test_attacks_stay_text(attacked):
    page, fetched = attacked
    assert page.evaluate("window.harmed") is None
    found = page.evaluate(
        "Array.from(document.querySelectorAll('#messages *, #conversations *'), e => e.localName)"
    )
    assert not {"script", "img", "iframe", "style", "link", "b", "object", "form"} & set(found)
    assert page.evaluate(
        "Array.from(document.querySelectorAll('#messages *')).every("
        "  e => Array.from(e.attributes).every(a => !a.name.startsWith('on') && a.name !== 'style'))"
    )
    assert ATTACKS[0] in page.text
    assert all(url.startswith(page.url) for url in fetched)


def test_links_lead_to_the_web_or_to_mail_and_tell_nothing_of_this_page(attacked):
    page, _ = attacked
    links = page.evaluate(
        "Array.from(document.querySelectorAll('#messages a'), a => [a.protocol, a.rel, a.target])"
    )
    assert links, "some of them are links"
    assert {protocol for protocol, _, _ in links} <= {"https:", "http:", "mailto:"}
    assert {(rel, target) for _, rel, target in links} == {("noopener noreferrer nofollow", "_blank")}


def test_the_policy_stops_what_would_get_past_the_page(page):
    """Even a script that is put into the page does not run, and no text can become HTML."""
    assert page.evaluate(
        """() => {
          const script = document.createElement("script");
          try { script.textContent = "window.harmed = 1"; } catch {}
          document.body.append(script);
          let refused = false;
          try { document.body.innerHTML = "<img src=x>"; } catch { refused = true; }
          return refused && window.harmed === undefined;
        }"""
    )
    assert page.problems
    page.problems.clear()
