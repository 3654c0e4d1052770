"""Names, origins and keys: whom the server answers."""

from __future__ import annotations

import openai
import pytest

from glmq.server.guard import Guard
from glmq.server.settings import ServerSettings

from .running_server import RunningServer


@pytest.fixture(scope="module")
def locked(demo_tools):
    with RunningServer(demo_tools, api_key="a secret", allow_origins=("https://good.example",)) as running:
        yield running


@pytest.mark.parametrize("host", ("localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"))
def test_local_names_are_answered(server, host):
    assert server.http(host=host).get("/health").status_code == 200


@pytest.mark.parametrize(
    "host", ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example:80", "[", "")
)
def test_other_names_are_refused(server, host):
    response = server.http(host=host).get("/v1/models")
    assert response.status_code in (400, 403)


def test_names_that_are_allowed_are_answered(demo_tools):
    with RunningServer(demo_tools, allow_hosts=("model.home",)) as running:
        assert running.http(host="model.home:1234").get("/health").status_code == 200


def test_a_server_for_all_addresses_answers_to_any_address_and_no_foreign_name():
    guard = Guard(None, ServerSettings(host="0.0.0.0"))
    guard._check_host("192.168.1.5:8080")
    with pytest.raises(Exception, match="does not answer to the name"):
        guard._check_host("evil.example")


@pytest.mark.parametrize("origin", ("https://evil.example", "http://localhost.evil.example", "null"))
def test_pages_of_other_origins_are_refused(server, origin):
    response = server.http(origin=origin).post("/v1/chat/completions", json={"messages": []})
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_the_servers_own_pages_and_programs_pages_are_answered(server):
    for origin in (server.url, "vscode-webview://abc", "app://obsidian.md"):
        response = server.http(origin=origin).get("/v1/models")
        assert response.status_code == 200
        assert "access-control-allow-origin" not in response.headers


def test_pages_of_an_allowed_origin_are_answered_with_the_headers_for_it(locked):
    preflight = {
        "origin": "https://good.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    allowed = locked.http(**preflight).options("/v1/chat/completions")
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "https://good.example"
    assert allowed.headers["access-control-allow-headers"] == "authorization, content-type"
    asked = locked.http(origin="https://good.example").get("/v1/models")
    assert asked.status_code == 401
    assert asked.headers["access-control-allow-origin"] == "https://good.example"


def test_the_key_is_asked_for_everywhere_but_for_health(locked):
    assert locked.http().get("/health").status_code == 200
    for path in ("/v1/models", "/props", "/metrics", "/slots", "/api/tags"):
        assert locked.http().get(path).status_code == 401
    with pytest.raises(openai.AuthenticationError, match="missing or wrong"):
        locked.openai("a wrong one").models.list()


@pytest.mark.parametrize(
    "headers",
    (
        {"authorization": ""},
        {"authorization": "a secret"},
        {"authorization": "Basic a secret"},
        {"authorization": "Bearer a secret2"},
        {"x-api-key": "a secre"},
        {"x-api-key": "\xff\xfe"},
    ),
)
def test_what_is_not_the_key_is_refused(locked, headers):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert locked.http().get("/v1/models", headers=encoded).status_code == 401


def test_both_clients_show_the_key_in_their_way(locked):
    assert locked.openai("a secret").models.list().data
    assert locked.anthropic("a secret").models.list().data
