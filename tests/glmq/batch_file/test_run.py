"""Requests are answered as the server answers them, many at once, and each one once."""

from __future__ import annotations

import json

import pytest

import glmq
from glmq.batch_file import run
from glmq.batch_file.order import LEAST_SHARED
from glmq.batch_file.results import Found
from glmq.server.in_process import InProcessServer
from glmq.server.service import Service
from glmq.server.settings import ServerSettings

from .files import batch_file, chat, line, message


@pytest.fixture(scope="module")
def model():
    with glmq.load("demo-tools", deterministic=True) as loaded:
        yield loaded


class Kept:
    """Keeps results in memory."""

    def __init__(self):
        self.results = {}

    def append(self, result):
        assert result["custom_id"] not in self.results
        self.results[result["custom_id"]] = result


def answered(model, path, lines, *, found=(), n_parallel=4):
    kept = Kept()
    with batch_file(path / "in.jsonl", lines) as file:
        there = [Found(each.id, each.custom_id, True) for each in file.requests if each.custom_id in found]
        progress = run.answer_file(model, file, kept, there, n_parallel, lambda progress: None)
    return kept.results, progress


def test_each_request_has_the_answer_that_it_has_alone(model, tmp_path):
    lines = [chat(str(i), f"Tell me about {i}.", max_tokens=6) for i in range(12)]
    together, progress = answered(model, tmp_path, lines, n_parallel=6)
    alone, _ = answered(model, tmp_path, lines, n_parallel=1)
    assert {name: message(each) for name, each in together.items()} == {
        name: message(each) for name, each in alone.items()
    }
    assert (progress.n_all, progress.n_done, progress.n_failed, progress.n_answer) == (12, 12, 0, 72)


def test_all_three_kinds_of_requests(model, tmp_path):
    lines = [
        chat("chat"),
        line("completion", "/v1/completions", {"prompt": ["Hi", "Ho"], "max_tokens": 3}),
        line("response", "/v1/responses", {"input": "Hi", "max_output_tokens": 3}),
        chat("streamed", stream=True),
    ]
    results, progress = answered(model, tmp_path, lines)
    kinds = {name: each["response"]["body"]["object"] for name, each in results.items()}
    assert kinds == {
        "chat": "chat.completion",
        "completion": "text_completion",
        "response": "response",
        "streamed": "chat.completion",
    }
    assert progress.n_answer == 4 + 6 + 3 + 4
    for each in results.values():
        assert set(each) == {"id", "custom_id", "response", "error"}
        assert set(each["response"]) == {"status_code", "request_id", "body"}
        assert each["response"]["status_code"] == 200 and each["error"] is None


def test_what_is_wrong_with_a_line_is_its_own_result(model, tmp_path):
    lines = [
        chat("good"),
        "nonsense",
        chat("bad", max_tokens="many"),
        chat("long", "word " * 20_000),
        line("embeddings", "/v1/embeddings", {}),
    ]
    results, progress = answered(model, tmp_path, lines)
    assert (progress.n_done, progress.n_failed) == (5, 4)
    assert results["good"]["response"]["status_code"] == 200
    assert results[None]["error"]["code"] == "invalid_json"
    assert results[None]["error"]["message"].startswith("line 2: ")
    assert results["embeddings"]["error"]["code"] == "invalid_url"
    assert results["bad"]["response"]["status_code"] == 400
    assert results["bad"]["response"]["body"]["error"]["param"] == "max_tokens"
    assert results["long"]["response"]["body"]["error"]["code"] == "context_length_exceeded"


def test_a_long_beginning_is_read_once(model, tmp_path):
    rules = "".join(f"Rule {i} is like rule {i + 1}. " for i in range(LEAST_SHARED // 20))
    lines = [chat(str(i), f"{rules} Which rule is number {i}?") for i in range(8)]
    results, _ = answered(model, tmp_path, lines, n_parallel=8)
    usages = [each["response"]["body"]["usage"] for each in results.values()]
    for usage in usages:
        assert usage["prompt_tokens_details"]["cached_tokens"] > 0.8 * usage["prompt_tokens"]


def test_what_was_answered_earlier_is_not_answered_again(model, tmp_path):
    results, progress = answered(model, tmp_path, [chat("a"), chat("b"), chat("c")], found=("a", "c"))
    assert set(results) == {"b"}
    assert (progress.n_before, progress.n_done, progress.n_failed) == (2, 3, 0)


class CrowdedServer:
    """Has memory for so many requests at once."""

    def __init__(self, room):
        self.room, self.n_busy, self.most = room, 0, 0

    async def post(self, path, body):
        self.n_busy += 1
        self.most = max(self.most, self.n_busy)
        fits = self.n_busy <= self.room
        await run.asyncio.sleep(0.01)
        self.n_busy -= 1
        return (200, {"usage": None}) if fits else (429, {"error": {"message": "no memory"}})

    def close(self):
        pass


@pytest.mark.parametrize("room", (0, 1, 3, 20))
def test_requests_without_room_are_answered_when_there_is_some(model, tmp_path, monkeypatch, room):
    server = CrowdedServer(room)
    monkeypatch.setattr(run, "InProcessServer", lambda *arguments: server)
    results, progress = answered(None, tmp_path, [chat(str(i)) for i in range(20)], n_parallel=8)
    assert {each["response"]["status_code"] for each in results.values()} == {200 if room else 429}
    assert progress.n_failed == (0 if room else 20)
    assert server.most == 8 + run.PREPARED


def test_an_internal_error_is_the_result_of_its_request_alone(model, tmp_path, monkeypatch):
    begin = Service.begin_completions

    async def begin_or_fail(service, request):
        if request.prompts == ["bad"]:
            raise ZeroDivisionError
        return await begin(service, request)

    monkeypatch.setattr(Service, "begin_completions", begin_or_fail)
    bodies = [{"prompt": text, "max_tokens": 2} for text in ("good", "bad", "fine")]
    lines = [line(body["prompt"], "/v1/completions", body) for body in bodies]
    results, progress = answered(model, tmp_path, lines)
    statuses = {name: each["response"]["status_code"] for name, each in results.items()}
    assert statuses == {"good": 200, "bad": 500, "fine": 200}
    assert results["bad"]["response"]["body"]["error"]["code"] == "internal_error"
    assert progress.n_failed == 1


def test_an_error_of_the_results_ends_the_run(model, tmp_path):
    class Full(Kept):
        def append(self, result):
            if len(self.results) == 2:
                raise glmq.GlmqError("no room")
            super().append(result)

    lines = [chat(str(i), max_tokens=50) for i in range(10)]
    with batch_file(tmp_path / "in.jsonl", lines) as file, pytest.raises(glmq.GlmqError, match="no room"):
        run.answer_file(model, file, Full(), (), 4, lambda progress: None)


def test_answers_are_json_whatever_the_body_holds(model):
    async def posted():
        server = InProcessServer(model, ServerSettings())
        try:
            return await server.post("/v1/completions", {"prompt": "\ud800", "max_tokens": 2})
        finally:
            server.close()

    status, body = run.asyncio.run(posted())
    assert status in (200, 400) and json.dumps(body)
