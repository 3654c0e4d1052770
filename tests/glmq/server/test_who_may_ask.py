"""Names, origins and keys: whom the server answers."""

from __future__ import annotations

import socket

import openai
import pytest

from glmq.server.guard import known_names
from glmq.server.settings import ServerSettings

from .running_server import RunningServer


@pytest.fixture(scope="module")
def locked(demo_tools):
    with RunningServer(demo_tools, api_key="a secret", allow_origins=("https://good.example",)) as running:
        yield running


@pytest.mark.parametrize(
    "host",
    ("localhost", "LOCALHOST", "localhost.", "localhost:", "127.0.0.1:8080", "[::1]:8080", "192.168.1.5"),
)
def test_local_names_and_addresses_are_answered(server, host):
    assert server.http(host=host).get("/health").status_code == 200


@pytest.mark.parametrize(
    "host",
    (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example:80",
        "evil.example@localhost",
        "localhost/x",
        "localhost.evil.example.",
        "[",
        "::1",
        "",
    ),
)
def test_other_names_are_refused(server, host):
    response = server.http(host=host).get("/v1/models")
    assert response.status_code in (400, 403)


def test_names_that_are_allowed_are_answered(demo_tools):
    with RunningServer(demo_tools, allow_hosts=("model.home",)) as running:
        assert running.http(host="model.home:1234").get("/health").status_code == 200


def test_a_server_for_other_machines_answers_to_the_names_of_its_own(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Desk.lan")
    names = known_names(ServerSettings(host="0.0.0.0", allow_hosts=("Model.Home.",)))
    assert names >= {"desk.lan", "desk", "desk.local", "model.home", "localhost"}
    assert "desk.lan" not in known_names(ServerSettings(host="127.0.0.1"))


def test_two_names_in_one_request_are_refused(server):
    lines = (b"GET /health HTTP/1.1", b"Host: localhost", b"Host: evil.example", b"", b"")
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(b"\r\n".join(lines))
        assert connection.recv(100).split()[1] in (b"400", b"403")


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
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://good.example"
    assert "authorization" in allowed.headers["access-control-allow-headers"]
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


def test_a_right_key_is_enough_where_another_header_holds_a_wrong_one(locked):
    headers = {"authorization": "Bearer of my login", "x-api-key": "a secret"}
    assert locked.http(**headers).get("/v1/models").status_code == 200


def test_settings_do_not_show_the_key():
    assert "a secret" not in repr(ServerSettings(api_key="a secret"))
