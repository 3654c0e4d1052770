"""The page at /, without a browser: how it is served, and that it asks for nothing from elsewhere."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from graphlib import CycleError
from importlib.resources import files

import pytest

from glmq.server.page import assembly

from .running_server import RunningServer

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
SOURCES = [
    file
    for folder in (files("glmq.server.page"), files("glmq.server.page").joinpath("scripts"))
    for file in folder.iterdir()
    if file.name.endswith((".html", ".css", ".js"))
]


@pytest.fixture(scope="module")
def page(server):
    response = server.http(**BROWSER).get("/")
    assert response.status_code == 200
    return response


def test_browsers_get_the_page_and_other_programs_ollamas_words(server, page):
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    assert server.http().get("/").text == "Ollama is running"
    assert page.headers["vary"] == "Accept"


@pytest.mark.parametrize("headers", (BROWSER, {}))
def test_head_tells_the_length_and_gives_nothing(server, headers):
    http = server.http(**headers)
    response = http.head("/")
    assert response.status_code == 200 and not response.content
    assert int(response.headers["content-length"]) == len(http.get("/").content)


def test_a_page_that_the_browser_has_is_not_sent_again(server, page):
    for known in (page.headers["etag"], f'"other", W/{page.headers["etag"]}', "*"):
        response = server.http(**BROWSER).get("/", headers={"if-none-match": known})
        assert response.status_code == 304 and not response.content
    assert server.http(**BROWSER).get("/", headers={"if-none-match": '"other"'}).status_code == 200


def test_the_page_needs_no_key(demo_tools):
    with RunningServer(demo_tools, api_key="a secret") as locked:
        assert locked.http(**BROWSER).get("/").status_code == 200
        assert locked.http(**BROWSER).get("/props").status_code == 401


def test_the_policy_lets_in_this_style_and_this_script_and_nothing_else(page):
    policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    [style] = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    [script] = re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL)
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["style-src"] == hash_of(style)
    assert policy["script-src"] == hash_of(script)
    assert policy["connect-src"] == "'self'"


def hash_of(text):
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_page_is_whole(page):
    """Nothing is left of its parts' names, and nothing in it is fetched from anywhere."""
    assert "/* scripts */" not in page.text and "/* style.css */" not in page.text
    assert not re.search(r"^(import|export)\b", page.text, re.MULTILINE)
    assert not re.search(r"\ssrc=|url\(|@import|<(iframe|object|embed|base)\b", page.text)
    assert re.findall(r'<link[^>]*href="(\w+:)', page.text) == ["data:"]
    addresses = set(re.findall(r"https?://[\w.]+", page.text))
    assert addresses == {"http://www.w3.org"}, "the name of SVG's elements"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_no_text_becomes_html_or_a_program(file):
    text = file.read_text("utf-8")
    assert not re.search(r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", text)
    assert not re.search(r'\son\w+="|\sstyle="', text), "the policy would refuse it"


def test_modules_stand_behind_those_that_they_import():
    modules = {
        "a": 'import { f } from "./b.js";\nexport const n = f();\n',
        "b": "export function f() {}\nfunction g() {}\n",
    }
    script = assembly.one_script(modules)
    assert script.index("module_b =") < script.index("module_a =")
    assert "const { f } = module_b;" in script
    assert "return { f };" in script


def test_modules_that_import_each_other_in_a_circle_are_refused():
    modules = {
        "a": 'import { g } from "./b.js";\n',
        "b": 'import { f } from "./a.js";\n',
    }
    with pytest.raises(CycleError):
        assembly.one_script(modules)


def test_every_import_names_something_exported():
    exported = {
        file.name: {name for _, name in assembly.EXPORT.findall(file.read_text("utf-8"))} for file in SOURCES
    }
    for file in SOURCES:
        for names, module in assembly.IMPORT.findall(file.read_text("utf-8")):
            assert set(re.findall(r"\w+", names)) <= exported[f"{module}.js"], file.name
