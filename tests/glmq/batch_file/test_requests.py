"""Which lines of a batch file are requests, and what is told of the others."""

from __future__ import annotations

import json

import pytest
from glmq_kernels.errors import GlmqError

from glmq.batch_file.requests import open_batch_file

from .files import batch_file, chat, line


@pytest.fixture
def path(tmp_path):
    return tmp_path / "in.jsonl"


def test_lines_are_requests(path):
    asked = {"prompt": "Hi", "max_tokens": 2}
    with batch_file(path, [chat("a", "Grüße"), "", line("b", "/v1/completions", asked)]) as file:
        assert [(each.custom_id, each.line) for each in file.requests] == [("a", 1), ("b", 3)]
        assert file.url_and_body(file.requests[1]) == ("/v1/completions", asked)
        assert file.url_and_body(file.requests[0])[1]["messages"][0]["content"] == "Grüße"
        assert file.bad_lines == []


def test_line_ends_and_byte_order_marks_of_windows_do_not_matter(path):
    text = f"{chat('a')}\r\n{chat('b')}\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    with open_batch_file(path) as file:
        assert [each.custom_id for each in file.requests] == ["a", "b"]
        assert file.url_and_body(file.requests[1])[0] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("text", "custom_id", "code", "told"),
    (
        ("nonsense", None, "invalid_json", "not JSON"),
        ('{"custom_id": "x"', None, "invalid_json", "not JSON"),
        ("[" * 100_000, None, "invalid_json", "not JSON"),
        ('{"custom_id": "\xff"}'.encode("latin-1"), None, "invalid_json", "not JSON"),
        ("[1]", None, "invalid_request", "not a JSON object"),
        (json.dumps({"url": "/v1/completions", "body": {}}), None, "missing_custom_id", "custom_id"),
        (line(5, "/v1/completions", {}), None, "missing_custom_id", "not a string"),
        (line("x", "/v1/completions", {}, method="GET"), "x", "invalid_method", "POST"),
        (line("x", "/v1/embeddings", {}), "x", "invalid_url", "/v1/chat/completions"),
        (line("x", ["/v1/completions"], {}), "x", "invalid_url", "/v1/chat/completions"),
        (line("x", "/v1/completions", "text"), "x", "invalid_body", "body"),
    ),
)
def test_a_bad_line_is_told_and_the_others_are_requests(path, text, custom_id, code, told):
    text = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(b"\n".join((chat("a").encode(), text, chat("b").encode())))
    with open_batch_file(path) as file:
        assert [each.custom_id for each in file.requests] == ["a", "b"]
        [bad] = file.bad_lines
        assert (bad.line, bad.custom_id, bad.code) == (2, custom_id, code)
        assert told in bad.message


def test_each_request_needs_an_id_of_its_own(path):
    with (
        pytest.raises(GlmqError, match=r'lines 1 and 3 have the same custom_id "a"'),
        batch_file(path, [chat("a"), chat("b"), chat("a", "Other")]),
    ):
        pass


def test_a_file_without_requests_is_refused(path):
    with pytest.raises(GlmqError, match="holds no requests"), batch_file(path, ["", " "]):
        pass


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(GlmqError, match="cannot be read: No such file"), open_batch_file(tmp_path / "none"):
        pass


def test_ids_tell_what_a_line_says_and_not_where_it_stands(path):
    with batch_file(path, [chat("a"), chat("b")]) as file:
        ids = {each.custom_id: each.id for each in file.requests}
    with batch_file(path, [chat("c"), chat("b"), chat("a", "Other")]) as file:
        moved = {each.custom_id: each.id for each in file.requests}
    assert moved["b"] == ids["b"]
    assert moved["a"] != ids["a"]


def test_a_file_that_is_changed_meanwhile_is_noticed(path):
    with batch_file(path, [chat("a"), chat("b")]) as file:
        path.write_text(f"{chat('a', 'Howdy')}\n{chat('b')}\n")
        with pytest.raises(GlmqError, match="was changed while"):
            file.url_and_body(file.requests[0])
